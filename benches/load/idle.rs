//! Idle sessions: what each costs the server in memory, and nothing else.

use std::time::{Duration, Instant};

use super::client::{Client, Outcome};
use super::servers::{Ground, House, Server, sshd};
use super::{Report, milliseconds, proc, rounded};

/// Sessions that are opened at once.
const AT_ONCE: usize = 8;

/// Opens this many sessions and leaves them open.
pub async fn crowd(server: &Server, count: usize) -> Outcome<Vec<Client>> {
    let mut clients = Vec::new();
    while clients.len() < count {
        let some = AT_ONCE.min(count - clients.len());
        let tasks: Vec<_> = (0..some)
            .map(|_| {
                let door = server.door();
                tokio::spawn(async move {
                    let client = Client::connect(&door).await?;
                    client.stat("/").await?;
                    Ok::<_, String>(client)
                })
            })
            .collect();
        for task in tasks {
            let client = task.await.map_err(|error| error.to_string())?;
            clients.push(client.map_err(|why| format!("{}: {why}\n{}", server.name, server.last_words()))?);
        }
    }
    Ok(clients)
}

pub async fn run(quick: bool) -> Outcome<Report> {
    let mut report = Report::new("idle");
    let ground = Ground::new()?;
    let house = House::new(&ground, "idle").await?;
    let counts = if quick { [100, 20] } else { [1000, 200] };
    let mut costs = Vec::new();
    for (server, count) in [house.serve()?, sshd(&ground)?].into_iter().zip(counts) {
        // What every server gets once: pools, caches, the first session's pages.
        crowd(&server, 4).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = proc::pss(server.pid());
        let begun = Instant::now();
        let clients = crowd(&server, count).await?;
        report.figure(&format!("{}_opened_in_ms", server.name), milliseconds(begun.elapsed()));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = proc::pss(server.pid());
        let cost = after.saturating_sub(before) as f64 / count as f64;
        report.figure(&format!("{}_sessions", server.name), count);
        report.figure(&format!("{}_pss_before_kib", server.name), before);
        report.figure(&format!("{}_pss_after_kib", server.name), after);
        report.figure(&format!("{}_kib_per_session", server.name), rounded(cost));
        if server.name == "tacdrop" {
            let cpu = proc::cpu_of_threads(server.pid());
            tokio::time::sleep(Duration::from_secs(5)).await;
            let spent = proc::cpu_of_threads(server.pid()).saturating_sub(cpu);
            report.figure("tacdrop_cpu_ms_per_second_while_idle", milliseconds(spent / 5));
            report.figure("tacdrop_peak_kib", proc::peak(server.pid()));
        }
        costs.push(cost);
        drop(clients);
    }
    if let [ours, theirs] = costs[..] {
        report.goal(
            "memory per idle session, OpenSSH's divided by tacdrop's",
            rounded(theirs / ours),
            20.0,
            40.0,
            true,
        );
    }
    Ok(report)
}
