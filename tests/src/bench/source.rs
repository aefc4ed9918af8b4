//! The server that is caught up with: its WAL is made once, kept by a slot, and read from memory in every run.

use super::catch_up::Link;
use super::stage::Stage;
use crate::certs::{Authority, ServerTls};
use crate::server::Server;
use anyhow::{Context, Result, ensure};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use wal_agent::wal::{Lsn, SegmentName, SegmentNo, SegmentSize, TimelineId};

/// Keeps the WAL, and is copied for each run.
const KEPT: &str = "bench_kept";

/// The server with its WAL.
#[derive(Debug)]
pub struct Source {
    server: Server,
    authority: PathBuf,
    start: Lsn,
    end: Lsn,
}

impl Source {
    /// Starts the server and makes as much WAL as the stage wants.
    pub(super) async fn prepare(stage: &Stage) -> Result<Self> {
        stage.doing("preparing a server with WAL");
        let ca = Authority::new("bench")?;
        let authority = stage.dir().join("authority.pem");
        fs::write(&authority, ca.pem())?;
        let tls = ServerTls { pair: ca.server()?, client_ca: None, crl: None };
        let builder = stage.server().tls(tls).config("ssl_min_protocol_version", "TLSv1.3");
        let server = builder.config("wal_init_zero", "off").start().await?;

        // The slot reserves from the last checkpoint on: one at the beginning of a segment.
        server.switch_wal().await?;
        server.sql("CHECKPOINT").await?;
        server.create_slot(KEPT, true).await?;
        let size = server.segment_size();
        let restart: Lsn = server.slot(KEPT, "restart_lsn").await?.context("the slot reserves nothing")?.parse()?;
        let start = size.floor(restart);
        let end = Lsn::new(start.get() + stage.segments() * size.bytes());
        // A bit more than is asked for: receivers stop once they are beyond the end position.
        let enough = Lsn::new(end.get() + (1 << 20));
        tokio::try_join!(write(stage, &server, 0, start, enough), write(stage, &server, 1, start, enough))?;
        server.sql("CHECKPOINT").await?;
        let source = Self { server, authority, start, end };
        source.read_all()?;
        rustix::fs::sync();
        Ok(source)
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The first byte: the beginning of a segment.
    pub fn start(&self) -> Lsn {
        self.start
    }

    /// The end of the last segment.
    pub fn end(&self) -> Lsn {
        self.end
    }

    /// For `--endpos`: receivers stop when they are beyond it, which is when the first `segments` are whole.
    pub fn end_position(&self, segments: u64) -> Lsn {
        Lsn::new(self.start.get() + segments * self.segment_size().bytes() - 1)
    }

    /// How much WAL there is.
    pub fn bytes(&self) -> u64 {
        self.end.bytes_since(self.start)
    }

    /// The same in segments.
    pub fn segments(&self) -> u64 {
        self.bytes() / self.segment_size().bytes()
    }

    /// Their size.
    pub fn segment_size(&self) -> SegmentSize {
        self.server.segment_size()
    }

    /// How to connect over `link`: both sides of a comparison the same way.
    pub fn conninfo(&self, link: Link) -> String {
        let tls = match link {
            Link::Plaintext => "sslmode=disable".to_owned(),
            Link::Tls => format!("sslmode=verify-full sslrootcert={}", self.authority.display()),
        };
        format!("{} {tls}", self.server.tcp_conninfo("127.0.0.1"))
    }

    /// Makes the slot `name` anew, at the start of the WAL.
    ///
    /// # Errors
    /// The server's.
    pub async fn renew_slot(&self, name: &str) -> Result<()> {
        // A walsender that has lost its receiver may hold the slot for a moment more.
        let free = format!("NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{name}' AND active)");
        self.server.wait_for(&free).await?;
        let drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name";
        self.server.sql(&format!("{drop} = '{name}'")).await?;
        self.server.sql(&format!("SELECT pg_copy_physical_replication_slot('{KEPT}', '{name}')")).await
    }

    /// Checks that `dir` holds the first `segments` under their final names, byte for byte.
    ///
    /// # Errors
    /// It does not.
    pub fn check(&self, dir: &Path, segments: u64) -> Result<()> {
        let size = self.segment_size();
        let first = size.segment_of(self.start).get();
        for number in first..first + segments {
            let segment = SegmentName { timeline: TimelineId::FIRST, segment: SegmentNo::new(number) };
            let name = segment.file_name(size);
            let received = fs::read(dir.join(&name)).with_context(|| format!("{name} was not received"))?;
            let sent =
                fs::read(self.server.wal_dir().join(&name)).with_context(|| format!("the server lost {name}"))?;
            ensure!(received == sent, "{} is not what the server has", dir.join(name).display());
        }
        Ok(())
    }

    /// Has the system keep all of pg_wal in memory.
    fn read_all(&self) -> Result<()> {
        for entry in fs::read_dir(self.server.wal_dir())? {
            let path = entry?.path();
            if path.is_file() {
                io::copy(&mut File::open(&path)?, &mut io::sink())?;
            }
        }
        Ok(())
    }
}

/// Writes a mixture of records until the server is at `enough`: rows with their index, updates, and large ones.
async fn write(stage: &Stage, server: &Server, number: u32, start: Lsn, enough: Lsn) -> Result<()> {
    let client = server.connect().await?;
    let create = "SET synchronous_commit = off; CREATE TABLE";
    client.batch_execute(&format!("{create} wal_{number} (id int PRIMARY KEY, a int, payload text)")).await?;
    let batch = format!(
        "TRUNCATE wal_{number}; \
         INSERT INTO wal_{number} SELECT g, g, repeat(md5(g::text), 1 + g % 32) FROM generate_series(1, 15000) g; \
         UPDATE wal_{number} SET a = a + 1 WHERE id % 8 = 0; \
         SELECT pg_logical_emit_message(true, 'bench', repeat(md5(g::text), 20000)) FROM generate_series(1, 10) g"
    );
    loop {
        client.batch_execute(&batch).await?;
        let now = server.flush_lsn().await?;
        if now >= enough {
            return Ok(());
        }
        let (done, all) = (now.bytes_since(start) >> 20, enough.bytes_since(start) >> 20);
        stage.moving(format_args!("preparing a server with WAL: {done} of {all} MiB"));
    }
}
