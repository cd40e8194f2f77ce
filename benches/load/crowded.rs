//! Small requests while a thousand sessions idle, eight upload as fast as they can, and one is
//! dead: it asks for a file and never reads. Against the same server without any of them.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::busy::Uploads;
use super::client::{Client, Outcome};
use super::idle::crowd;
use super::servers::{Ground, House, Server};
use super::{Report, milliseconds, percentile, proc, rounded};

const UPLOADS: usize = 8;
/// MiB in a second that they make together at least.
const BUSY: f64 = 10.0;

/// How long each kind of small request takes.
struct Latencies {
    stat: Vec<Duration>,
    list: Vec<Duration>,
    put: Vec<Duration>,
    login: Vec<Duration>,
}

pub async fn run(quick: bool) -> Outcome<Report> {
    let mut report = Report::new("crowded");
    let ground = Ground::new()?;
    let house = House::new(&ground, "crowded").await?;
    let app = house.open().await?;
    let ticket = house.ticket(&app, "B-1").await?;
    let mut busy = Vec::new();
    for number in 0..UPLOADS {
        busy.push(house.ticket(&app, &format!("UP-{number}")).await?);
    }
    app.seed_files(&ticket.0, 0, 20, 100).await.map_err(|error| error.to_string())?;
    app.close().await;
    drop(app);
    let server = house.serve()?;
    let (idle, requests) = if quick { (100, 50) } else { (1000, 400) };
    report.figure("idle_sessions", idle);
    report.figure("requests", requests);

    measure(&server, requests / 10, "warm").await?;
    let alone = measure(&server, requests, "alone").await?;
    let clients = crowd(&server, idle).await?;
    let with_idle = measure(&server, requests / 2, "idle").await?;

    let mut uploads = Uploads::start(&server, &busy)?;
    let _dead = dead(&server).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (begun, cpu) = (Instant::now(), proc::cpu_of_threads(server.pid()));
    let written = proc::written(server.pid());
    let crowded = measure(&server, requests, "crowded").await?;
    report.figure("seconds_crowded", rounded(begun.elapsed().as_secs_f64()));
    let spent = proc::cpu_of_threads(server.pid()).saturating_sub(cpu).as_secs_f64();
    report.figure("server_cores_busy", rounded(spent / begun.elapsed().as_secs_f64()));
    if uploads.ended() {
        return Err(format!("the uploads ended early\n{}", server.last_words()));
    }
    let written = proc::written(server.pid()).saturating_sub(written);
    let speed = written as f64 / 1_048_576.0 / begun.elapsed().as_secs_f64();
    report.figure("uploads_mib_per_second", rounded(speed));
    if speed < BUSY {
        return Err(format!("the uploads were no load: {speed:.1} MiB/s\n{}", server.last_words()));
    }
    drop(uploads);
    report.figure("tacdrop_peak_kib", proc::peak(server.pid()));
    drop(clients);

    for (name, one, idle, all) in [
        ("stat", &alone.stat, &with_idle.stat, &crowded.stat),
        ("list", &alone.list, &with_idle.list, &crowded.list),
        ("put", &alone.put, &with_idle.put, &crowded.put),
        ("login", &alone.login, &with_idle.login, &crowded.login),
    ] {
        for (part, label) in [(0.5, "p50"), (0.99, "p99")] {
            report.figure(&format!("{name}_{label}_alone_ms"), milliseconds(percentile(one, part)));
            report.figure(&format!("{name}_{label}_idle_ms"), milliseconds(percentile(idle, part)));
            report.figure(&format!("{name}_{label}_crowded_ms"), milliseconds(percentile(all, part)));
        }
        let ratio = percentile(all, 0.99).as_secs_f64() / percentile(one, 0.99).as_secs_f64();
        report.goal(&format!("{name}: p99 in the crowd against p99 alone"), rounded(ratio), 3.0, 2.0, false);
    }
    Ok(report)
}

/// `phase` is part of the names of what is put.
async fn measure(server: &Server, requests: usize, phase: &str) -> Outcome<Latencies> {
    let client = Client::connect(&server.door()).await?;
    let mut found = Latencies { stat: Vec::new(), list: Vec::new(), put: Vec::new(), login: Vec::new() };
    for number in 0..requests {
        let begun = Instant::now();
        client.stat("/B-1/show-tech-0000003.txt").await?;
        found.stat.push(begun.elapsed());
        let begun = Instant::now();
        if client.list("/B-1").await? < 20 {
            return Err("the listing is not whole".to_owned());
        }
        found.list.push(begun.elapsed());
        // These cost more, so there are fewer.
        if number % 4 == 0 {
            let begun = Instant::now();
            client.put(&format!("/B-1/from-support/{phase}-{number}"), &[1; 1000]).await?;
            found.put.push(begun.elapsed());
            let begun = Instant::now();
            let other = Client::connect(&server.door()).await?;
            found.login.push(begun.elapsed());
            other.leave().await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.leave().await;
    found.stat.sort();
    found.list.sort();
    found.put.sort();
    found.login.sort();
    Ok(found)
}

/// A client that says hello and then neither reads nor writes.
async fn dead(server: &Server) -> Outcome<(TcpStream, Client, russh_sftp::client::RawSftpSession)> {
    let mut silent = TcpStream::connect(server.address).await.map_err(|error| error.to_string())?;
    let mut hello = [0; 8];
    silent.read_exact(&mut hello).await.map_err(|error| error.to_string())?;
    silent.write_all(b"SSH-2.0-dead\r\n").await.map_err(|error| error.to_string())?;
    // And one that logs in, opens a file for writing, and never says another word.
    let client = Client::connect(&server.door()).await?;
    let raw = client.raw().await?;
    super::client::within("opendir", raw.opendir("/B-1")).await?;
    Ok((silent, client, raw))
}
