//! What `pg_basebackup -R` writes for a standby works unchanged for the agent.

use anyhow::{Result, ensure};
use harness::receiver::Launch;
use harness::server::Server;

async fn a_standbys_connection_string_is_the_agents(major: u32) -> Result<()> {
    let server = Server::start_new(major).await?;
    for conninfo in [server.socket_conninfo(), server.tcp_conninfo("127.0.0.1")] {
        let written = server.primary_conninfo(&conninfo)?;
        ensure!(written.contains("channel_binding=") && written.contains("target_session_attrs="), "{written}");
        let dir = tempfile::tempdir()?;
        let mut agent = Launch::wal_agent()?.dbname(&written).directory(dir.path()).spawn()?;
        agent.wait_streaming(&server).await?;
        let ended = agent.stop().await?;
        ensure!(ended.code == Some(0) && !ended.stderr.contains("warning"), "{written}: {ended:?}");
    }
    Ok(())
}

on_majors! { a_standbys_connection_string_is_the_agents: pg15 15 pg16 16 pg17 17 pg18 18 }
