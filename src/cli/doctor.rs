//! `tacdrop doctor`: every precondition, one line each. It changes nothing, and makes no data
//! directory.

use std::fs::{self, File, TryLockError};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use serde::Serialize;

use super::failure::Failure;
use super::output::{Output, size};
use super::{Common, Desk};
use crate::app::{App, ClockState, DataDirectory, Due, HOST_KEY, LEGACY_HOST_KEY};
use crate::config::Config;
use crate::model::sanitize;
use crate::model::{NoticeState, Time};
use crate::server;
use crate::ssh;

/// Less free space than this, or than one part in fifty of the disk, is not enough.
const LEAST_SPACE: u64 = 1 << 30;
const LEAST_PART: u64 = 50;
/// Descriptors for 1024 connections with their files, and the databases.
const LEAST_DESCRIPTORS: u64 = 4096;
/// How long a mail server may take to answer.
const SMTP_PATIENCE: Duration = Duration::from_secs(5);
/// How late a notice may be before something is wrong.
const OVERDUE: Duration = Duration::from_secs(120);
/// After this long without a new backup something is wrong.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// Rows that are named at most; the others are counted.
const NAMED: usize = 10;
/// 2026-01-01T00:00:00Z: there was no tacdrop before.
const EARLIEST: i64 = 1_767_225_600;

/// How a precondition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// In order, and yet worth knowing.
    Note,
    /// In order, but it may end badly one day.
    Warn,
    /// Something is to be done.
    Todo,
}

/// One line.
#[derive(Debug, Serialize)]
struct Check {
    check: &'static str,
    state: Verdict,
    detail: String,
}

/// What a check found: what is so, or what to do.
type Finding = Result<String, String>;

#[derive(Default)]
struct Report(Vec<Check>);

impl Report {
    fn add(&mut self, check: &'static str, finding: Finding) {
        let (state, detail) = match finding {
            Ok(detail) => (Verdict::Ok, detail),
            Err(detail) => (Verdict::Todo, detail),
        };
        self.0.push(Check { check, state, detail });
    }

    fn warn(&mut self, check: &'static str, detail: String) {
        self.0.push(Check { check, state: Verdict::Warn, detail });
    }

    fn note(&mut self, check: &'static str, detail: String) {
        self.0.push(Check { check, state: Verdict::Note, detail });
    }
}

pub(crate) fn run(common: &Common, output: &Output) -> Result<(), Failure> {
    let mut report = Report::default();
    report.add("descriptors", descriptors());
    match Config::load_here(common.config.as_deref()) {
        Ok(config) => {
            let desk = Desk { data: DataDirectory::at(&common.data), config, output: *output };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(examine(&mut report, common, &desk));
        }
        Err(error) => {
            report.add("clock", clock(None));
            report.add("settings", Err(format!("{error} (nothing that depends on settings was checked)")));
        }
    }
    if output.is_json() {
        output.json(&report.0)?;
    } else {
        let lines: Vec<String> = report.0.iter().map(line).collect();
        output.say(&lines.join("\n"))?;
    }
    match (report.0.iter().filter(|check| check.state == Verdict::Todo).count(), report.0.len()) {
        (0, _) => Ok(()),
        (1, all) => Err(Failure::new(format!("1 of {all} checks is not ok; its line says what to do"))),
        (faults, all) => Err(Failure::new(format!("{faults} of {all} checks are not ok; their lines say what to do"))),
    }
}

fn line(check: &Check) -> String {
    let word = match check.state {
        Verdict::Ok => "ok",
        Verdict::Note => "note",
        Verdict::Warn => "warn",
        Verdict::Todo => "TO DO",
    };
    format!("{word:<5}  {:<14}  {}", check.check, sanitize::line(&check.detail.replace('\n', " ")))
}

async fn examine(report: &mut Report, common: &Common, desk: &Desk) {
    let (data, config) = (&desk.data, &desk.config);
    let file = common.config.as_ref().map_or("defaults, no file".to_owned(), |file| file.display().to_string());
    report.add("settings", Ok(file));
    report.add("secrets", secrets(config));
    let root = data.root();
    report.add("data", directory(root));
    let there = root.is_dir();
    if there {
        report.add("space", space(root));
    }
    let served = served(data);
    if there && !data.is_none() {
        kek(report, data, config);
        match App::open(data.clone(), server::share_settings(config)).await {
            Ok(app) => {
                report.add("records", Ok("open, up to date, and the KEK fits the keyring".to_owned()));
                host_key(report, &app).await;
                legacy(report, config, &app).await;
                schema(report, &app).await;
                proofs(report, &app).await;
                organisations(report, &app).await;
                engineers(report, &app).await;
                backup(report, &app).await;
                rotation(report, &app).await;
                retention(report, config, &app).await;
                report.add("notices", notices(&app, served == Ok(true)).await);
                report.add("clock", clock(newest(&app).await));
                app.close().await;
            }
            Err(error) => {
                report.add("records", Err(error.to_string()));
                report.add("clock", clock(None));
            }
        }
    } else {
        if there {
            let advice = "nothing is in it yet; run 'tacdrop serve' or 'tacdrop organisation add'";
            report.add("records", Err(format!("{}: {advice}", root.display())));
        }
        report.add("clock", clock(None));
    }
    report.add("address", address(config, served).await);
    if let Some(advice) = told_nowhere(config) {
        report.warn("address", advice);
    }
    report.add("delivery", delivery(data, config).await);
}

fn descriptors() -> Finding {
    // `serve` raises its limit to the highest that is allowed.
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < LEAST_DESCRIPTORS => Err(format!(
            "only {most} open files are allowed; allow {LEAST_DESCRIPTORS} (ulimit -Hn, or LimitNOFILE of the unit)"
        )),
        Some(most) => Ok(format!("{most} open files are allowed")),
        None => Ok("any number of open files is allowed".to_owned()),
    }
}

fn clock(newest: Option<Time>) -> Finding {
    let now = Time::now();
    if now.seconds() < EARLIEST {
        return Err(format!("the clock says {now}, which is past; set it (NTP)"));
    }
    match newest {
        Some(newest) if newest > now.plus(OVERDUE) => {
            Err(format!("the clock says {now}, but the records hold {newest} already; set it (NTP)"))
        }
        _ => Ok(now.to_string()),
    }
}

/// Whether the databases hold nothing but what tacdrop made in them.
async fn schema(report: &mut Report, app: &App) {
    report.add(
        "schema",
        match app.integrity().strangers().await {
            Ok(None) => Ok("the databases hold no table, index, trigger or view but tacdrop's own".to_owned()),
            Ok(Some(sentence)) => Err(sentence),
            Err(error) => Err(error.to_string()),
        },
    );
}

/// Whether what decides rights is what tacdrop wrote.
async fn proofs(report: &mut Report, app: &App) {
    let finding = match app.tickets().unproved().await {
        Ok(rows) if rows.is_empty() => {
            Ok("what the records say of people and tickets is what tacdrop wrote".to_owned())
        }
        Ok(rows) => {
            let named = rows.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = rows.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(format!(
                "somebody changed the records from outside, and these rows are refused: {named}{more}; see 'What to do \
                 about a row that is not proved' in docs/operations.md"
            ))
        }
        Err(error) => Err(error.to_string()),
    };
    report.add("proofs", finding);
    if let Ok(true) = app.integrity().is_kek_of_before_proofs().await {
        let advice = "the KEK is from before the records were proved, and an older keyring still opens under it; run \
                      'tacdrop key rotate' once";
        report.warn("proofs", advice.to_owned());
    }
}

/// Whether customers with an open ticket are kept out.
async fn organisations(report: &mut Report, app: &App) {
    let rows = match app.tickets().organisations().await {
        Ok(rows) => rows,
        Err(error) => return report.add("organisations", Err(error.to_string())),
    };
    let out: Vec<_> = rows.iter().filter(|row| !row.admitted && row.open_tickets > 0).collect();
    if out.is_empty() {
        return report.add("organisations", Ok(format!("{}, each with an open ticket may log in", rows.len())));
    }
    let named = out.iter().take(NAMED).map(|row| {
        let why = match row.until.filter(|_| !row.disabled) {
            Some(day) => format!("contract until {day}"),
            None => "disabled".to_owned(),
        };
        format!("{} ({why}; open tickets: {})", row.id, row.open_tickets)
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = out.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    report.warn(
        "organisations",
        format!(
            "the customers of these cannot log in: {named}{more}; close the tickets, or run 'tacdrop organisation enable' or \
             'edit --until'"
        ),
    );
}

/// Whether somebody hears of what comes for each open ticket.
async fn engineers(report: &mut Report, app: &App) {
    let finding = match app.tickets().unreached().await {
        Ok(tickets) if tickets.is_empty() => Ok("somebody is told of what comes for each open ticket".to_owned()),
        Ok(tickets) => {
            let named = tickets.iter().take(NAMED).map(|one| format!("{} ({})", one.ticket, one.why));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = tickets.len().saturating_sub(NAMED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(format!(
                "notices of these open tickets reach nobody: {named}{more}; run 'tacdrop ticket edit REF --engineer ID'"
            ))
        }
        Err(error) => Err(error.to_string()),
    };
    report.add("engineers", finding);
}

/// The newest moment in the records.
async fn newest(app: &App) -> Option<Time> {
    app.tickets().list().await.ok()?.into_iter().map(|ticket| ticket.opened_at).max()
}

fn secrets(config: &Config) -> Finding {
    config.check_secrets().map_err(|error| error.to_string())?;
    match config.notify.smtp.as_ref().and_then(|smtp| smtp.password.as_ref()) {
        Some(password) => {
            password.read().map(|_| "the mail server's password can be read".to_owned()).map_err(|e| e.to_string())
        }
        None => Ok("none are set".to_owned()),
    }
}

fn directory(root: &Path) -> Finding {
    let shown = root.display();
    let facts = match fs::metadata(root) {
        Ok(facts) if facts.is_dir() => facts,
        Ok(_) => return Err(format!("{shown} is no directory; name another one with --data")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!(
                "{shown} is not there; run 'tacdrop serve' or 'tacdrop organisation add', or see --data"
            ));
        }
        Err(error) => return Err(format!("{shown} cannot be entered: {error}")),
    };
    let mode = facts.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(format!("{shown} can be entered by others (mode {mode:04o}); run: chmod 0700 {shown}"));
    }
    writable(root)?;
    Ok(format!("{shown}, private and writable"))
}

fn writable(directory: &Path) -> Result<(), String> {
    match tempfile::tempfile_in(directory) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{} cannot be written ({error}); check its owner", directory.display())),
    }
}

fn space(root: &Path) -> Finding {
    let disk = rustix::fs::statvfs(root).map_err(|error| format!("the disk does not say how full it is: {error}"))?;
    let (free, total) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    let text = format!("{} of {} are free", size(free), size(total));
    if free < LEAST_SPACE || free < total / LEAST_PART {
        return Err(format!("{text}; make room, or uploads will be refused"));
    }
    Ok(text)
}

/// The key that opens everything. The canary is checked by opening the keyring.
fn kek(report: &mut Report, data: &DataDirectory, config: &Config) {
    let path = config.keys.kek.as_ref().map_or_else(|| data.kek(), |key| key.file.clone());
    let shown = path.display();
    let mode = match fs::metadata(&path) {
        Ok(facts) => facts.permissions().mode() & 0o7777,
        Err(error) => {
            return report.add("KEK", Err(format!("{shown} cannot be read ({error}); restore it from its backup")));
        }
    };
    if mode & 0o077 != 0 {
        return report
            .add("KEK", Err(format!("{shown} can be read by others (mode {mode:04o}); run: chmod 0400 {shown}")));
    }
    let inside = match (fs::canonicalize(&path), fs::canonicalize(data.root())) {
        (Ok(path), Ok(root)) => path.starts_with(root),
        _ => false,
    };
    if inside {
        let advice = "it lies beside the data: whoever takes the disk has both, and whoever loses it loses both. Move it to \
                      another place and name that with keys.kek, and keep a copy elsewhere";
        report.warn("KEK", format!("{shown}, private; {advice}"));
    } else {
        report.add("KEK", Ok(format!("{shown}, private")));
    }
}

async fn host_key(report: &mut Report, app: &App) {
    if !app.data().host_key().exists() && matches!(app.fact(HOST_KEY).await, Ok(None)) {
        return report.note("host key", "the first 'tacdrop serve' makes it".to_owned());
    }
    let finding = server::host_key(app).await;
    report.add("host key", finding.map(|key| ssh::fingerprint(&key)).map_err(|error| error.to_string()));
}

/// The listener for old devices, if one is set.
async fn legacy(report: &mut Report, config: &Config, app: &App) {
    let Some(legacy) = &config.legacy else { return };
    let until = legacy.until;
    if until.is_over(Time::now()) {
        let advice = "it is closed; set another legacy.until, or remove legacy.listen if no old device is left";
        return report
            .add("legacy", Err(format!("the last day of the listener for old devices was {until}: {advice}")));
    }
    if !app.data().legacy_host_key().exists() && matches!(app.fact(LEGACY_HOST_KEY).await, Ok(None)) {
        return report.note("legacy", format!("until {until}; the next 'tacdrop serve' makes its host key"));
    }
    match server::legacy_host_key(app).await {
        Err(error) => report.add("legacy", Err(error.to_string())),
        Ok(key) => {
            let detail = format!(
                "{} takes old devices with weak encryption until {until}, host key {}",
                legacy.listen,
                ssh::fingerprint(&key)
            );
            report.warn("legacy", detail);
        }
    }
}

/// Whether there is a backup that is not too old.
async fn backup(report: &mut Report, app: &App) {
    match app.backups().last_backup().await {
        Err(error) => report.add("backup", Err(error.to_string())),
        Ok(None) => report.warn("backup", "there is none yet; run 'tacdrop backup DIR'".to_owned()),
        Ok(Some(taken)) => match taken.parse::<jiff::Timestamp>() {
            Ok(time) if Time::now().minus(STALE).seconds() > time.as_second() => {
                report.warn("backup", format!("the last one was taken {taken}; run 'tacdrop backup DIR'"));
            }
            _ => report.add("backup", Ok(format!("the last one was taken {taken}"))),
        },
    }
}

/// Whether a rotation of keys was cut.
async fn rotation(report: &mut Report, app: &App) {
    match app.rotation().key_status(None).await {
        Ok(status) if status.left.is_empty() => {}
        Ok(status) => report.add("keys", Err(status.left.join(" "))),
        Err(error) => report.add("keys", Err(error.to_string())),
    }
}

/// What the policy has in store, and whether a clock that jumped stops it.
async fn retention(report: &mut Report, config: &Config, app: &App) {
    if config.policy.rules.is_none() {
        return report
            .add("retention", Ok("no policy (policy.file): closed tickets are kept until 'ticket shred'".to_owned()));
    }
    let found = async {
        let clock = app.retention().retention_clock().await?.and_then(ClockState::warning);
        Ok::<_, crate::app::Error>((clock, app.retention().retention_plan().await?))
    };
    match found.await {
        Err(error) => report.add("retention", Err(error.to_string())),
        Ok((Some(warning), _)) => report.add("retention", Err(warning)),
        Ok((None, plan)) => {
            let count = |state| plan.iter().filter(|line| line.state == state).count();
            let (due, later, held) = (count(Due::Now), count(Due::Later), count(Due::Held));
            report.add("retention", Ok(format!("{due} tickets are due, {later} later, {held} held")));
        }
    }
    rules_for_nobody(report, config, app).await;
}

/// A rule of the policy for an organisation that there is not: whoever wrote it thinks that it holds.
async fn rules_for_nobody(report: &mut Report, config: &Config, app: &App) {
    let (Some(policy), Ok(known)) = (&config.policy.rules, app.tickets().organisations().await) else { return };
    for named in policy.organisations() {
        if !known.iter().any(|line| line.id.eq_ignore_ascii_case(named.as_str())) {
            let advice = "change it in the policy's file, or add it with 'tacdrop organisation add'";
            report.warn("policy", format!("a rule is for the organisation {named}, which there is not; {advice}"));
        }
    }
}

/// Whether a running tacdrop serves the data directory.
fn served(data: &DataDirectory) -> Result<bool, String> {
    let path = data.root().join("serve.lock");
    let Ok(file) = File::open(&path) else { return Ok(false) };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}

async fn address(config: &Config, served: Result<bool, String>) -> Finding {
    let listen = config.server.listen;
    match served? {
        true => Ok("a running tacdrop serves this data directory".to_owned()),
        false => match ssh::bind(listen).await {
            Ok(_) => Ok(format!("{listen} is free; nothing serves this data directory now")),
            Err(error) => Err(format!("{listen} cannot be listened on ({error}); choose another with server.listen")),
        },
    }
}

/// What is wrong with the address that people are told: others connect, and it leads each of them to
/// its own machine.
fn told_nowhere(config: &Config) -> Option<String> {
    let server = &config.server;
    let (host, _) = server.public_address(server.listen);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (is_here && !server.listen.ip().is_loopback()).then(|| {
        format!(
            "others connect to {}, and people are told '{host}'; set server.public_host to this machine's name",
            server.listen
        )
    })
}

async fn notices(app: &App, served: bool) -> Finding {
    let notices = app.notices().list(None).await.map_err(|error| error.to_string())?;
    let latest = Time::now().minus(OVERDUE);
    let failed = notices.iter().filter(|notice| matches!(notice.state, NoticeState::Failed | NoticeState::Unknown));
    let late = notices.iter().filter(|notice| {
        matches!(notice.state, NoticeState::Pending | NoticeState::Settling)
            && (notice.last_error.is_some() || notice.next_attempt_at.is_some_and(|time| time < latest))
    });
    let (failed, late): (Vec<_>, Vec<_>) = (failed.collect(), late.collect());
    let unreadable =
        notices.iter().flat_map(|notice| &notice.artifacts).find_map(|artifact| artifact.problem.as_deref());
    if let (true, true, Some(problem)) = (failed.is_empty(), late.is_empty(), unreadable) {
        return Err(problem.to_owned());
    }
    if failed.is_empty() && late.is_empty() {
        return Ok(format!("{}, none failed or overdue", notices.len()));
    }
    let why = failed.iter().chain(&late).find_map(|notice| notice.last_error.as_deref());
    let advice = match (why, served) {
        (Some(why), _) => format!("the first error: {why}"),
        (None, false) => "run 'tacdrop serve', which delivers them".to_owned(),
        (None, true) => "look into the server's log".to_owned(),
    };
    let counts = format!("{} failed, {} overdue of {}", failed.len(), late.len(), notices.len());
    let remedy = if failed.is_empty() {
        ""
    } else {
        ", and 'tacdrop notice retry --all-failed' (or readdress, dismiss) sends them again once the cause is gone"
    };
    Err(format!("{counts}; 'tacdrop notice list' shows them{remedy}; {advice}"))
}

/// Whether notices can leave: a mail server that answers, or a spool that can be written.
async fn delivery(data: &DataDirectory, config: &Config) -> Finding {
    if let Some(smtp) = &config.notify.smtp {
        let server = format!("{}:{}", smtp.host, smtp.port);
        let connect = tokio::net::TcpStream::connect((smtp.host.as_str(), smtp.port));
        return match tokio::time::timeout(SMTP_PATIENCE, connect).await {
            Ok(Ok(_)) => Ok(format!("the mail server {server} answers")),
            Ok(Err(error)) => Err(format!("the mail server {server} cannot be reached ({error}); see notify.smtp")),
            Err(_) => Err(format!("the mail server {server} did not answer in 5 seconds; see notify.smtp")),
        };
    }
    let spool = config.notify.spool.clone().unwrap_or_else(|| data.notices());
    // It is made when the first notice comes, and whatever is missing above it.
    let existing = spool.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let below = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    writable(below)?;
    Ok(format!("no mail server is set; mails go to the spool {}", spool.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_others_can_enter_is_not_ok() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("data");
        assert!(directory(&root).unwrap_err().contains("is not there"));
        assert!(!root.exists());
        fs::create_dir(&root).unwrap();
        for (mode, ok) in [(0o755, false), (0o710, false), (0o700, true)] {
            fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(directory(&root).is_ok(), ok, "{mode:o}");
        }
    }

    #[test]
    fn a_clock_that_runs_behind_the_records_is_not_ok() {
        let now = Time::now();
        assert!(clock(None).is_ok() && clock(Some(now)).is_ok());
        assert!(clock(Some(now.plus(Duration::from_secs(3600)))).is_err());
    }

    #[test]
    fn a_line_says_ok_or_what_to_do() {
        let check = |state| Check { check: "space", state, detail: "a\nb\x1b".into() };
        assert_eq!(line(&check(Verdict::Ok)), "ok     space           a b\u{fffd}");
        assert_eq!(line(&check(Verdict::Todo)), "TO DO  space           a b\u{fffd}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_not_ok() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = Config::default();
        config.server.listen = taken.local_addr().unwrap();
        assert!(address(&config, Ok(false)).await.is_err());
        assert!(address(&config, Ok(true)).await.is_ok());
    }
}
