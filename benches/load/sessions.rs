//! New sessions: handshake, login by public key, SFTP, one STAT, good-bye. tacdrop and OpenSSH in
//! turn, the same client.

use std::time::{Duration, Instant};

use super::client::{Client, Door, Outcome};
use super::servers::{Ground, House, Server, sshd};
use super::{Report, median, proc, rounded};

pub async fn run(quick: bool) -> Outcome<Report> {
    let mut report = Report::new("sessions");
    let ground = Ground::new()?;
    let house = House::new(&ground, "sessions").await?;
    let servers = [house.serve()?, sshd(&ground)?];
    let (rounds, seconds) = if quick { (2, 2) } else { (5, 6) };
    report.figure("rounds", rounds);
    report.figure("seconds_per_round", seconds);
    for server in &servers {
        round(server, 1, Duration::from_secs(1)).await?;
    }
    let mut peaks = Vec::new();
    for clients in [1, 8] {
        let (mut rates, mut costs, mut ratios) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()], Vec::new());
        for number in 0..rounds {
            let mut pair = [0.0; 2];
            // Who goes first changes each time.
            for turn in 0..2 {
                let which = (turn + number) % 2;
                let (Some(server), Some(slot)) = (servers.get(which), pair.get_mut(which)) else { continue };
                let (rate, cost) = round(server, clients, Duration::from_secs(seconds)).await?;
                *slot = rate;
                if let (Some(rates), Some(costs)) = (rates.get_mut(which), costs.get_mut(which)) {
                    rates.push(rate);
                    costs.push(cost);
                }
            }
            ratios.push(pair[0] / pair[1]);
        }
        let [mut ours, mut theirs] = rates;
        let [mut our_cost, mut their_cost] = costs;
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        let (our_cost, their_cost) = (median(&mut our_cost), median(&mut their_cost));
        report.figure(&format!("tacdrop_sessions_per_second_{clients}"), rounded(ours));
        report.figure(&format!("openssh_sessions_per_second_{clients}"), rounded(theirs));
        report.figure(&format!("tacdrop_cpu_ms_{clients}"), rounded(our_cost));
        report.figure(&format!("openssh_cpu_ms_{clients}"), rounded(their_cost));
        ratios.sort_by(f64::total_cmp);
        let spread: Vec<f64> = ratios.iter().map(|ratio| rounded(*ratio)).collect();
        report.figure(&format!("ratios_{clients}"), spread);
        report.goal(&format!("new sessions per second, {clients} at once"), rounded(ours / theirs), 3.0, 5.0, true);
        peaks.push(proc::peak(servers[0].pid()));
    }
    report.figure("tacdrop_peak_kib", peaks.last().copied().unwrap_or(0));
    Ok(report)
}

/// Sessions per second, and the server's CPU time for each in milliseconds.
async fn round(server: &Server, clients: usize, time: Duration) -> Outcome<(f64, f64)> {
    let (cpu, begun) = (proc::cpu(server.pid()), Instant::now());
    let tasks: Vec<_> = (0..clients).map(|_| tokio::spawn(one_after_another(server.door(), begun + time))).collect();
    let mut sessions = 0;
    for task in tasks {
        sessions += task
            .await
            .map_err(|error| error.to_string())?
            .map_err(|why| format!("{}: {why}\n{}", server.name, server.last_words()))?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    // sshd waits for its children a moment after the client has gone; only then is their time
    // counted.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let cost = proc::cpu(server.pid()).saturating_sub(cpu).as_secs_f64() * 1e3;
    let sessions = f64::from(sessions);
    Ok((sessions / seconds, cost / sessions))
}

async fn one_after_another(door: Door, until: Instant) -> Outcome<u32> {
    let mut sessions = 0;
    while Instant::now() < until {
        let client = Client::connect(&door).await?;
        client.stat("/").await?;
        client.leave().await;
        sessions += 1;
    }
    Ok(sessions)
}
