//! How cost grows: the same small work on a server that knows ever more. What counts is the
//! server's CPU time for each item at a size against that at a thousand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tacdrop::bench::{seeded_content, seeded_name};

use super::client::{Client, Door, Outcome};
use super::servers::{Ground, House, Server, text};
use super::{Report, milliseconds, proc, rounded};

/// Bytes of a seeded file.
const LENGTH: usize = 100;
/// What an upload is measured with.
const SMALL: usize = 1000;
/// Files in one share, where there are several.
const SHARE: u64 = 100_000;

/// The costs of one kind of work at each size: milliseconds of the server's CPU, and of the clock.
#[derive(Default)]
struct Costs(Vec<(&'static str, u64, f64, f64)>);

impl Costs {
    /// Does something `times` times and keeps what each cost the server.
    async fn take<F: Future<Output = Outcome<()>>>(
        &mut self,
        name: &'static str,
        size: u64,
        server: &Server,
        times: u64,
        work: impl FnMut(u64) -> F,
    ) -> Outcome<()> {
        let outcome = self.take_of(server.pid(), name, size, times, work).await;
        outcome.map_err(|why| format!("{why}\n{}", server.last_words()))
    }

    /// The same for the process with this id.
    async fn take_of<F: Future<Output = Outcome<()>>>(
        &mut self,
        pid: u32,
        name: &'static str,
        size: u64,
        times: u64,
        mut work: impl FnMut(u64) -> F,
    ) -> Outcome<()> {
        let (cpu, begun) = (proc::cpu(pid), Instant::now());
        for number in 0..times {
            work(number).await.map_err(|why| format!("{name} at {size}: {why}"))?;
        }
        let clock = begun.elapsed();
        let spent = proc::cpu(pid).saturating_sub(cpu);
        self.add(name, size, spent / u32::try_from(times).unwrap_or(1), clock / u32::try_from(times).unwrap_or(1));
        Ok(())
    }

    fn add(&mut self, name: &'static str, size: u64, cpu: Duration, clock: Duration) {
        eprintln!("  {name} at {size}: {:.3} ms CPU, {:.3} ms", cpu.as_secs_f64() * 1e3, clock.as_secs_f64() * 1e3);
        self.0.push((name, size, cpu.as_secs_f64() * 1e3, clock.as_secs_f64() * 1e3));
    }

    fn report(self, report: &mut Report, kind: &str) {
        let mut names: Vec<&str> = Vec::new();
        for (name, ..) in &self.0 {
            if !names.contains(name) {
                names.push(name);
            }
        }
        for name in names {
            let of: Vec<_> = self.0.iter().filter(|row| row.0 == name).collect();
            for (_, size, cpu, clock) in &of {
                report.figure(&format!("{kind}_{name}_{size}_cpu_ms"), rounded(*cpu));
                report.figure(&format!("{kind}_{name}_{size}_ms"), rounded(*clock));
            }
            // From 10^3 on, or from the smallest if there is no such size.
            let first = of.iter().find(|row| row.1 >= 1000).or(of.first());
            let last = of.iter().rev().find(|row| row.1 <= 100_000).or(of.last());
            if let (Some(first), Some(last)) = (first, last)
                && last.1 > first.1
            {
                let ratio = rounded(last.2 / first.2.max(0.001));
                let goal = format!("{kind}, {name}: CPU of one at {} against {}", last.1, first.1);
                report.goal(&goal, ratio, 1.3, 1.05, false);
            }
        }
    }
}

pub async fn run(quick: bool, kinds: &[&str]) -> Outcome<Report> {
    let mut report = Report::new("growth");
    for kind in kinds {
        eprintln!("growth of {kind}");
        // Each in a directory of its own, which goes before the next comes: a million records take
        // gigabytes.
        let ground = Ground::new()?;
        match *kind {
            "files" => files(&ground, quick, &mut report).await?,
            "tickets" => tickets(&ground, quick, &mut report).await?,
            "records" => records(&ground, quick, &mut report).await?,
            _ => open(&ground, quick, &mut report).await?,
        }
    }
    Ok(report)
}

fn sizes(quick: bool, from: u32, to: u32) -> Vec<u64> {
    (from..=if quick { to.min(from + 1) } else { to }).map(|power| 10_u64.pow(power)).collect()
}

/// Files in one share.
async fn files(ground: &Ground, quick: bool, report: &mut Report) -> Outcome<()> {
    let house = House::new(ground, "files").await?;
    let (mut seeded, mut ticket, mut costs) = (0, None, Costs::default());
    let times = if quick { 20 } else { 600 };
    for size in sizes(quick, 2, 5) {
        let app = house.open().await?;
        let ticket = match &ticket {
            Some(ticket) => Clone::clone(ticket),
            None => ticket.insert(house.ticket(&app, "B-1").await?).clone(),
        };
        let begun = Instant::now();
        app.seed_files(&ticket.0, seeded, size - seeded, LENGTH).await.map_err(text)?;
        report.figure(&format!("files_seeded_{}_in_ms", size - seeded), milliseconds(begun.elapsed()));
        seeded = size;
        app.close().await;
        drop(app);
        let server = house.serve()?;
        report.figure(&format!("files_start_{size}_ms"), milliseconds(server.started_in));
        report.figure(&format!("files_settled_{size}_cpu_ms"), milliseconds(server.settle().await));
        let client = Client::connect(&server.customer(&ticket)).await?;
        let raw = client.raw().await?;
        let (client, raw) = (&client, &raw);
        // Every name once, so that no cache but the server's own counts.
        let name = |number: u64| seeded_name(number.wrapping_mul(7919) % size);
        for number in 0..20 {
            client.put(&format!("warm-{size}-{number}"), &[1; SMALL]).await?;
        }
        costs
            .take("upload", size, &server, times, |number| async move {
                client.put(&format!("new-{size}-{number}"), &[1; SMALL]).await
            })
            .await?;
        costs
            .take(
                "stat",
                size,
                &server,
                times * 5,
                |number| async move { client.stat(&name(number)).await.map(|_| ()) },
            )
            .await?;
        costs
            .take("first_page", size, &server, times, |_| async move { client.list_page(raw, "/").await.map(|_| ()) })
            .await?;
        costs
            .take("open_read", size, &server, times, |number| async move {
                let number = number.wrapping_mul(7919) % size;
                let bytes = client.get(&seeded_name(number)).await?;
                if bytes == seeded_content(number, LENGTH) { Ok(()) } else { Err("other bytes came back".to_owned()) }
            })
            .await?;
        report.figure(&format!("files_peak_{size}_kib"), proc::peak(server.pid()));
    }
    costs.report(report, "files");
    Ok(())
}

/// Tickets, each with an empty share.
async fn tickets(ground: &Ground, quick: bool, report: &mut Report) -> Outcome<()> {
    let house = House::new(ground, "tickets").await?;
    let (mut seeded, mut known, mut costs) = (0, Vec::new(), Costs::default());
    let times: u64 = if quick { 10 } else { 300 };
    for size in sizes(quick, 2, 5) {
        let app = house.open().await?;
        let like = House::ticket_like("T-")?;
        let begun = Instant::now();
        let fresh = app.seed_tickets(&like, seeded, size - seeded).await.map_err(text)?;
        report.figure(&format!("tickets_seeded_{}_in_ms", size - seeded), milliseconds(begun.elapsed()));
        known.extend(fresh.into_iter().take(1000).map(|(reference, token)| (reference, token.to_string())));
        seeded = size;
        app.close().await;
        drop(app);
        let server = house.serve()?;
        report.figure(&format!("tickets_start_{size}_ms"), milliseconds(server.started_in));
        report.figure(&format!("tickets_settled_{size}_cpu_ms"), milliseconds(server.settle().await));
        let doors: Vec<Door> = known.iter().rev().map(|ticket| server.customer(ticket)).collect();
        for door in doors.iter().take(5) {
            Client::connect(door).await?.leave().await;
        }
        let door = |number: u64| doors.get(number as usize % doors.len());
        costs
            .take("login", size, &server, times, |number| async move {
                let client = Client::connect(door(number).ok_or("there is no ticket")?).await?;
                client.stat("/").await?;
                client.leave().await;
                Ok(())
            })
            .await?;
        let engineer = Client::connect(&server.door()).await?;
        let (engineer, raw) = (&engineer, &engineer.raw().await?);
        costs
            .take("engineer_page", size, &server, times.div_ceil(10), |_| async move {
                engineer.list_page(raw, "/").await.map(|_| ())
            })
            .await?;
        costs
            .take("engineer_stat", size, &server, times * 5, |number| async move {
                engineer.stat(&format!("/T-{}", number * 31 % size)).await.map(|_| ())
            })
            .await?;
        // As the command line does beside the server: this is this program's own time.
        let app = house.open().await?;
        let desk = &app;
        let open = |number: u64| async move {
            let like = House::ticket_like(&format!("NEW-{size}-{number}"))?;
            desk.tickets().open_ticket(like).await.map(|_| ()).map_err(text)
        };
        for number in 0..20 {
            open(times + number).await?;
        }
        costs.take_of(std::process::id(), "open", size, times, open).await?;
        app.close().await;
    }
    costs.report(report, "tickets");
    Ok(())
}

/// Records in all, over several shares: the start of the server, and an upload.
async fn records(ground: &Ground, quick: bool, report: &mut Report) -> Outcome<()> {
    let house = House::new(ground, "records").await?;
    let (mut seeded, mut tickets, mut costs) = (0, Vec::new(), Costs::default());
    let times = if quick { 20 } else { 200 };
    for size in sizes(quick, 3, 6) {
        let app = house.open().await?;
        let begun = Instant::now();
        let before = seeded;
        while seeded < size {
            let (number, within) = (seeded / SHARE, seeded % SHARE);
            if within == 0 {
                tickets.push(house.ticket(&app, &format!("R-{number}")).await?);
            }
            let some = (size - seeded).min(SHARE - within);
            let ticket = tickets.last().ok_or("there is no ticket")?;
            app.seed_files(&ticket.0, within, some, LENGTH).await.map_err(text)?;
            seeded += some;
        }
        report.figure(&format!("records_seeded_{}_in_ms", size - before), milliseconds(begun.elapsed()));
        app.close().await;
        drop(app);
        let server = house.serve()?;
        let cpu = proc::cpu(server.pid());
        // What one record costs at the start.
        let records = u32::try_from(size).unwrap_or(u32::MAX);
        report.figure(&format!("records_start_{size}_ms"), milliseconds(server.started_in));
        report.figure(&format!("records_start_{size}_cpu_ms"), milliseconds(cpu));
        report.figure(&format!("records_settled_{size}_cpu_ms"), milliseconds(server.settle().await));
        if size >= 10_000 {
            costs.add("start_per_record", size, cpu / records, server.started_in / records);
        }
        let client = Client::connect(&server.customer(tickets.first().ok_or("there is no ticket")?)).await?;
        let client = &client;
        for number in 0..20 {
            client.put(&format!("warm-{size}-{number}"), &[1; SMALL]).await?;
        }
        costs
            .take("upload", size, &server, times, |number| async move {
                client.put(&format!("new-{size}-{number}"), &[1; SMALL]).await
            })
            .await?;
        costs
            .take("open_read", size, &server, times, |number| async move {
                client.get(&seeded_name(number * 4)).await.map(|_| ())
            })
            .await?;
        report.figure(&format!("records_peak_{size}_kib"), proc::peak(server.pid()));
    }
    costs.report(report, "records");
    Ok(())
}

/// Uploads that are open at once, each in a session of its own: 1 MiB each, 512 in all.
async fn open(ground: &Ground, quick: bool, report: &mut Report) -> Outcome<()> {
    let house = House::new(ground, "open").await?;
    let app = house.open().await?;
    let ticket = house.ticket(&app, "B-1").await?;
    app.close().await;
    drop(app);
    let server = house.serve()?;
    let (all, most) = if quick { (64, 32) } else { (512, 256) };
    let piece = Arc::new(vec![3_u8; 1 << 20]);
    let mut costs = Costs::default();
    for at_once in [1_u64, 8, 32, 256].into_iter().filter(|count| *count <= most) {
        let mut clients = Vec::new();
        for _ in 0..at_once {
            clients.push(Client::connect(&server.customer(&ticket)).await?);
        }
        let (cpu, begun) = (proc::cpu(server.pid()), Instant::now());
        let tasks: Vec<_> = clients
            .into_iter()
            .enumerate()
            .map(|(which, client)| {
                let piece = Arc::clone(&piece);
                tokio::spawn(async move {
                    for number in 0..all / at_once {
                        client.put(&format!("f-{at_once}-{which}-{number}"), &piece).await?;
                    }
                    Ok::<_, String>(client)
                })
            })
            .collect();
        for task in tasks {
            task.await.map_err(text)?.map_err(|why| format!("{why}\n{}", server.last_words()))?.leave().await;
        }
        let (spent, clock) = (proc::cpu(server.pid()).saturating_sub(cpu), begun.elapsed());
        let count = u32::try_from(all).unwrap_or(1);
        costs.add("upload", at_once, spent / count, clock / count);
        report.figure(&format!("open_peak_{at_once}_kib"), proc::peak(server.pid()));
    }
    costs.report(report, "open uploads");
    Ok(())
}

/// Makes a data directory and leaves it there.
pub async fn seed(words: &[String]) -> Outcome<Report> {
    let [directory, files, tickets] = words else { return Err("seed DIR FILES TICKETS".to_owned()) };
    let number = |text: &String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
    let (files, tickets) = (number(files)?, number(tickets)?);
    let mut report = Report::new("seed");
    let ground = Ground::new()?;
    let house = House::at(&ground, std::path::Path::new(directory)).await?;
    let app = house.open().await?;
    let begun = Instant::now();
    let mut seeded = 0;
    while seeded < files {
        let ticket = house.ticket(&app, &format!("R-{}", seeded / SHARE)).await?;
        let some = (files - seeded).min(SHARE);
        app.seed_files(&ticket.0, 0, some, LENGTH).await.map_err(text)?;
        seeded += some;
    }
    report.figure("files_in_ms", milliseconds(begun.elapsed()));
    let begun = Instant::now();
    app.seed_tickets(&House::ticket_like("T-")?, 0, tickets).await.map_err(text)?;
    report.figure("tickets_in_ms", milliseconds(begun.elapsed()));
    app.close().await;
    Ok(report)
}
