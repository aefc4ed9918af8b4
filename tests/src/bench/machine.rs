//! On what was measured: a figure without its machine means nothing.

use super::stage::Stage;
use crate::process;
use anyhow::Result;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What describes a machine: names and values, in the order in which they are shown.
#[derive(Clone, Debug)]
pub struct Machine(pub Vec<(&'static str, Value)>);

impl Machine {
    /// This one, now.
    pub(super) fn look(stage: &Stage) -> Result<Self> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(Value::Null, |cores| cores.get().into());
        let agent = process::run(process::command(stage.agent(), None).arg("--version"))?;
        let (file_system, device) = file_system(&read("/proc/self/mountinfo"), stage.dir()).unwrap_or_default();
        let facts: [(&str, Value); 12] = [
            ("date", date(SystemTime::now()).into()),
            ("cpu", cpu_model(&read("/proc/cpuinfo")).unwrap_or_else(|| std::env::consts::ARCH.into()).into()),
            ("cores", cores),
            ("memory_mib", memory(&read("/proc/meminfo")).map_or(Value::Null, Value::from)),
            ("kernel", read("/proc/sys/kernel/osrelease").trim().into()),
            ("file_system", file_system.into()),
            ("device", device.into()),
            ("load_average", read("/proc/loadavg").split(' ').next().and_then(|load| load.parse::<f64>().ok()).into()),
            ("postgresql", stage.postgres().version.clone().into()),
            ("agent", agent.trim().into()),
            ("agent_build", stage.agent_build().into()),
            ("revision", revision().map_or(Value::Null, Value::from)),
        ];
        Ok(Self(facts.into()))
    }
}

/// Type and device of the file system that `path` is on: the longest mount point above it, the last of equals.
pub(super) fn file_system(mountinfo: &str, path: &Path) -> Option<(String, String)> {
    let mounts = mountinfo.lines().filter_map(|line| {
        // "36 35 98:0 /root /mount/point options … - type device options"
        let (mount, file_system) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        let mut fields = file_system.split(' ');
        path.starts_with(point).then_some((point.len(), fields.next()?, fields.next()?))
    });
    mounts.max_by_key(|(len, ..)| *len).map(|(_, name, device)| (name.to_owned(), device.to_owned()))
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let (_, model) = cpuinfo.lines().find(|line| line.starts_with("model name"))?.split_once(": ")?;
    Some(model.trim().to_owned())
}

fn memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib >> 10)
}

/// The commit that was checked out, and whether something was changed since.
fn revision() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"])?.lines().next().is_some();
    Some(commit + if is_changed { " with changes" } else { "" })
}

/// The day in UTC, as `2026-02-28`.
fn date(now: SystemTime) -> String {
    let days = now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / 86_400;
    // Years that begin in March end with the day that not each has; they come in eras of 400.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year + u64::from(month >= 10), if month < 10 { month + 3 } else { month - 9 });
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_what_the_calendar_says() {
        let check = |days: u64, expected| {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(days * 86_400 + 86_399)), expected);
        };
        check(0, "1970-01-01");
        check(11_016, "2000-02-29");
        check(11_017, "2000-03-01");
        check(19_722, "2023-12-31");
        check(19_723, "2024-01-01");
        check(20_512, "2026-02-28");
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n\
                      30 22 0:25 / /tmp rw,nosuid shared:3 - tmpfs tmpfs rw\n\
                      31 22 254:1 / /tmp/disk rw - xfs /dev/vdb rw\n";
        let check = |path: &str, name: &str, device: &str| {
            assert_eq!(file_system(mounts, Path::new(path)), Some((name.into(), device.into())), "{path}");
        };
        check("/home/x", "ext4", "/dev/vda");
        check("/tmp/x", "tmpfs", "tmpfs");
        check("/tmpx", "ext4", "/dev/vda");
        check("/tmp/disk/x", "xfs", "/dev/vdb");
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn the_machine_describes_itself() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: Fast 9000\n"), Some("Fast 9000".into()));
        assert_eq!(memory("MemTotal:       24629420 kB\nMemFree: 1 kB\n"), Some(24_052));
    }
}
