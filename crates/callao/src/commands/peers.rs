//! `callao peers`: whom the running daemon is connected to, as its status tells.

use crate::app::App;
use crate::daemon::ask;
use crate::daemon::state;
use crate::daemon::status::Peer;
use crate::error::CommandError;
use crate::exit_code::ExitCode;
use crate::get::run::new_runtime;
use crate::output::{human, json};

pub(crate) fn run(app: &App) -> Result<(), CommandError> {
    let running = state::running(&app.host)?.ok_or_else(|| {
        CommandError::new(ExitCode::NotFound, "no `callao serve` runs")
            .hint("start it: callao serve")
    })?;
    let status = new_runtime()?.block_on(ask::status(&running))?;
    for peer in &status.peers {
        app.output.json(&json::ConnectedPeer { kind: "peer", peer });
    }
    if status.peers.is_empty() {
        app.output.info("Nobody is connected");
    }
    for line in table(&status.peers) {
        app.output.result(line);
    }
    Ok(())
}

/// One line for each, columns as wide as needed.
fn table(peers: &[Peer]) -> Vec<String> {
    if peers.is_empty() {
        return Vec::new();
    }
    let head = ["PEER", "ADDRESS", "AGENT", "NET", "RTT", "SENT", "RECEIVED"].map(String::from);
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(peers.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 7] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(widths);
        let padded = cells.map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

fn row(peer: &Peer) -> [String; 7] {
    let rtt = peer.rtt_ms.map(|ms| format!("{ms:.1} ms"));
    let agent = Some(peer.agent.clone()).filter(|agent| !agent.is_empty());
    [
        peer.peer_id.clone(),
        peer.address.clone(),
        agent.unwrap_or_else(|| "-".into()),
        if peer.lan { "lan" } else { "wide" }.into(),
        rtt.unwrap_or_else(|| "-".into()),
        human::bytes(peer.sent_bytes),
        human::bytes(peer.received_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let peer = |id: &str, agent: &str, rtt_ms| Peer {
            peer_id: id.into(),
            address: "/ip4/192.168.1.7/tcp/4001".into(),
            agent: agent.into(),
            lan: true,
            rtt_ms,
            sent_bytes: 1 << 20,
            received_bytes: 0,
            http: None,
        };
        let lines = table(&[
            peer("12D3KooA", "kubo/0.43.0", Some(0.42)),
            peer("12D3KooAB", "", None),
        ]);
        insta::assert_snapshot!(lines.join("\n"), @r"
        PEER       ADDRESS                    AGENT        NET  RTT     SENT      RECEIVED
        12D3KooA   /ip4/192.168.1.7/tcp/4001  kubo/0.43.0  lan  0.4 ms  1.00 MiB  0 B
        12D3KooAB  /ip4/192.168.1.7/tcp/4001  -            lan  -       1.00 MiB  0 B
        ");
        assert!(table(&[]).is_empty());
    }
}
