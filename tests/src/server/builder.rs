//! Creating a cluster: initdb, settings, access rules, certificates.

use super::home::Home;
use super::{Backup, BackupWal, Server};
use crate::account::{self, Account};
use crate::port::Port;
use crate::postgres::Build;
use crate::{certs, process};
use anyhow::{Context, Result};
use std::fmt::Write;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use wal_agent::wal::SegmentSize;

/// What suits tests: room for receivers, little memory, all WAL kept, nothing that writes WAL by itself. Crashes here
/// are of processes, never of the machine, so nothing needs fsync.
const SETTINGS: [(&str, &str); 11] = [
    ("wal_level", "replica"),
    ("max_wal_senders", "20"),
    ("max_replication_slots", "20"),
    ("wal_keep_size", "1GB"),
    ("max_connections", "60"),
    ("shared_buffers", "16MB"),
    ("fsync", "off"),
    ("autovacuum", "off"),
    ("jit", "off"),
    ("log_replication_commands", "on"),
    ("log_line_prefix", "%m [%p] %q%a "),
];

/// A cluster that is to be made.
#[derive(Debug)]
pub struct Builder {
    build: Result<Build>,
    segment_size: SegmentSize,
    initdb: Vec<String>,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    tls: Option<certs::ServerTls>,
    quiet: bool,
    base: PathBuf,
}

impl Builder {
    pub(super) fn new(build: Result<Build>) -> Self {
        let (initdb, settings, hba) = (Vec::new(), Vec::new(), Vec::new());
        let base = std::env::temp_dir();
        Self { build, segment_size: SegmentSize::DEFAULT, initdb, settings, hba, tls: None, quiet: false, base }
    }

    /// `initdb --wal-segsize`, in MB. 16 unless told otherwise.
    ///
    /// # Panics
    /// It is no segment size.
    #[must_use]
    pub fn wal_segsize(mut self, megabytes: u64) -> Self {
        self.segment_size = SegmentSize::new(megabytes << 20).expect("a segment size");
        self
    }

    /// A further argument of initdb, such as `--allow-group-access`.
    #[must_use]
    pub fn initdb_arg(mut self, arg: &str) -> Self {
        self.initdb.push(arg.into());
        self
    }

    /// A line of postgresql.conf. The value is taken as it is and quoted.
    #[must_use]
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// `fsync = on`, which is off unless told otherwise.
    #[must_use]
    pub fn fsync(self) -> Self {
        self.config("fsync", "on")
    }

    /// A line of pg_hba.conf for TCP connections (or other roles than postgres on the socket). With the first of them
    /// nothing is trusted any more but the superuser on the unix socket.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.into());
        self
    }

    /// Serves TLS.
    #[must_use]
    pub fn tls(mut self, tls: certs::ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Does not print the log when the server is dropped: for programs; a test shows it only if it fails.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Makes the server's directory in `base` instead of the system's temporary directory. The path must be short enough
    /// for that of a unix socket. A server from a backup lies beside it.
    #[must_use]
    pub fn below(mut self, base: &Path) -> Self {
        self.base = base.to_owned();
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Errors
    /// A program is missing or fails, or the server does not come up.
    pub async fn start(self) -> Result<Server> {
        let mut server = self.create()?;
        server.start().await?;
        Ok(server)
    }

    /// Makes the cluster without starting it.
    ///
    /// # Errors
    /// A program is missing or fails.
    pub fn create(mut self) -> Result<Server> {
        self.settings.splice(0..0, SETTINGS.map(|(name, value)| (name.into(), value.into())));
        if self.hba.is_empty() {
            self.hba = ["host all all all trust", "host replication all all trust"].map(Into::into).into();
        }
        let (mut server, settings) = self.prepare()?;
        let mut initdb = process::command(&server.build.program("initdb")?, server.account);
        initdb.arg("-D").arg(server.data_dir()).args(["-U", "postgres", "-A", "trust", "--no-sync"]);
        initdb.args(["--no-locale", "-E", "UTF8"]);
        initdb.arg(format!("--wal-segsize={}", server.segment_size.bytes() >> 20)).args(&settings.initdb);
        process::run(&mut initdb)?;
        settings.apply(&mut server, "postgresql.conf")?;
        Ok(server)
    }

    /// A hot standby of `primary`, made with pg_basebackup, started and streaming. What is not set here is as on the
    /// primary.
    ///
    /// # Errors
    /// As for [`Builder::start`]; or the backup fails, or it does not stream.
    pub async fn start_standby_of(self, primary: &Server) -> Result<Server> {
        let name = format!("standby_{}", primary.port());
        let conninfo = format!("{} application_name={name}", primary.socket_conninfo());
        let builder = self.config("primary_conninfo", &conninfo).config("hot_standby", "on");
        let backup = primary.base_backup(BackupWal::Stream)?;
        let mut server = builder.create_from(backup)?;
        fs::write(server.data_dir().join("standby.signal"), "")?;
        account::give(&server.data_dir().join("standby.signal"), server.account)?;
        server.start().await?;
        primary.wait_streaming(&name).await?;
        Ok(server)
    }

    /// A server, not started, whose data directory is `backup`, with its settings and access rules unless set here.
    /// Only the synchronous standbys of the old server are none of the new one's.
    pub(super) fn create_from(mut self, backup: Backup) -> Result<Server> {
        self.segment_size = backup.segment_size();
        self.base = backup.base().to_owned();
        self.settings.insert(0, ("synchronous_standby_names".into(), String::new()));
        let (mut server, settings) = self.prepare()?;
        backup.move_to(&server.data_dir())?;
        // The last lines of this file win over all others, those of ALTER SYSTEM too.
        settings.apply(&mut server, "postgresql.auto.conf")?;
        Ok(server)
    }

    fn prepare(self) -> Result<(Server, Settings)> {
        let Self { build, segment_size, initdb, settings, hba, tls, quiet, base } = self;
        let account = account::for_servers()?;
        let home = Home::new(&base, account)?;
        let port = Port::reserve()?;
        let server =
            Server { home, build: build?, account, port, segment_size, instance: Vec::new(), postmaster: None, quiet };
        Ok((server, Settings { initdb, settings, hba, tls }))
    }
}

/// What a builder was told and the data directory has to know.
struct Settings {
    initdb: Vec<String>,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    tls: Option<certs::ServerTls>,
}

impl Settings {
    /// Appends the settings to `file` and writes what has a file of its own.
    fn apply(self, server: &mut Server, file: &str) -> Result<()> {
        let mut conf = String::from("\n");
        for (name, value) in &self.settings {
            writeln!(conf, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"))?;
        }
        let opened = OpenOptions::new().append(true).open(server.data_dir().join(file));
        opened.with_context(|| format!("cannot open {file}"))?.write_all(conf.as_bytes())?;

        if !self.hba.is_empty() {
            let mut text = String::from("local all postgres trust\nlocal replication postgres trust\n");
            for line in &self.hba {
                writeln!(text, "{line}")?;
            }
            fs::write(server.data_dir().join("pg_hba.conf"), text).context("cannot write pg_hba.conf")?;
        }

        let home = server.home.path().display().to_string();
        server.instance = vec![
            ("port".into(), server.port.number().to_string()),
            ("listen_addresses".into(), "127.0.0.1,::1".into()),
            ("unix_socket_directories".into(), home),
        ];
        if let Some(tls) = self.tls {
            let dir = server.tls_dir();
            fs::create_dir(&dir)?;
            write_tls(&dir, &tls.pair, server.account)?;
            server.instance.push(("ssl".into(), "on".into()));
            for (name, file, content) in [
                ("ssl_cert_file", "server.crt", None),
                ("ssl_key_file", "server.key", None),
                ("ssl_ca_file", "root.crt", tls.client_ca),
                ("ssl_crl_file", "root.crl", tls.crl),
            ] {
                let path = dir.join(file);
                if let Some(content) = content {
                    fs::write(&path, content)?;
                }
                if path.exists() {
                    server.instance.push((name.into(), path.display().to_string()));
                }
            }
            account::give(&dir, server.account)?;
        }
        Ok(())
    }
}

/// Writes certificate and key so that the server accepts them: the key its own and closed to others.
pub(super) fn write_tls(dir: &Path, pair: &certs::Pair, account: Option<Account>) -> Result<()> {
    for (name, content) in [("server.crt", pair.certificate()), ("server.key", &pair.key_pkcs8())] {
        // Renamed into place, so that a reload never meets half a file.
        let (new, path) = (dir.join(format!("{name}.new")), dir.join(name));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&new)?.write_all(content.as_bytes())?;
        account::give(&new, account)?;
        fs::rename(new, path)?;
    }
    Ok(())
}
