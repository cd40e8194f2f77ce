//! The one writer, and how its transactions share the cost of becoming durable.
//!
//! A commit waits for the disk. While it does, other tasks queue for the writer; each then runs its
//! transaction as a savepoint inside one transaction of the database, and one commit makes them all
//! durable: a *group*. Nobody hears that a transaction is committed before the group is. Who fails
//! or gives up takes back its own savepoint and nothing else.
//!
//! Some errors (a full disk, for one) make SQLite roll the whole transaction back by itself, and a
//! savepoint that comes after that would silently begin a new one. So each group begins with a
//! savepoint of its own: if that is gone at the end, the group was lost, and every one of its
//! members hears so.
//!
//! A transaction that is one statement goes in one question ([`Writer::at_once`]): while nobody
//! else waits, it is committed with the statement, and otherwise it is a member like all others.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tacdrop_model::{Level, Locked, LockedGuard};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedMappedMutexGuard, OwnedMutexGuard, oneshot};

use super::BUSY;
use super::batch::{Asked, Batch};
use crate::order::{Held, Rank};
use crate::{Conn, RecordsError, Sealer};

const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT whole_group; SAVEPOINT member";
const JOIN: &str = "SAVEPOINT member";
const KEEP: &str = "RELEASE member";
const UNDO: &str = "ROLLBACK TO member; RELEASE member";
const COMMIT: &str = "RELEASE whole_group; COMMIT";

/// The connection that writes, and who waits for it.
#[derive(Debug)]
pub struct Writer {
    /// None once closed. First come, first served.
    turn: Arc<Mutex<Option<Conn>>>,
    /// Where the turn stands among what tasks wait for.
    rank: Rank,
    /// Changed only by who has the turn.
    group: Locked<Group>,
    /// How many wait for the turn.
    waiting: AtomicUsize,
    /// The last row of the audit trail, as far as who had the last turn knows. Only a guess: others
    /// write, too, so a statement that builds on it compares it.
    tip: Locked<Option<Tip>>,
    /// Whether a task is on its way that will commit.
    commit_comes: AtomicBool,
    /// Where that task runs: the runtime that opened the records, which outlives the others.
    runtime: Handle,
}

/// The number of a row of the audit trail, and its link.
pub type Tip = (i64, [u8; 32]);

/// Asks for the last row of the audit trail; none if it is empty.
pub type LastRow =
    for<'c> fn(&'c mut Conn) -> Pin<Box<dyn Future<Output = Result<Option<Tip>, RecordsError>> + Send + 'c>>;

/// A transaction of one statement, in the three positions that a member of a group can be in.
#[derive(Debug)]
pub struct Positions {
    /// Nobody else waits: it is a transaction of its own, which ends with the statement.
    alone: Batch,
    /// Others wait for the turn: a group begins.
    first: Batch,
    /// It joins a group.
    next: Batch,
}

impl Positions {
    /// Those of a statement.
    pub fn of(statement: &str) -> Self {
        Self {
            alone: Batch::new(&[statement]),
            first: Batch::new(&["BEGIN IMMEDIATE", "SAVEPOINT whole_group", JOIN, statement, KEEP]),
            next: Batch::new(&[JOIN, statement, KEEP]),
        }
    }
}

/// The one connection, as long as this lives.
#[derive(Debug)]
pub struct Turn {
    conn: OwnedMappedMutexGuard<Option<Conn>, Conn>,
    _held: Held,
}

impl Deref for Turn {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.conn
    }
}

/// The transactions that will become durable together.
#[derive(Debug)]
struct Group {
    stage: Stage,
    /// Those that are done and wait for the commit.
    members: Vec<oneshot::Sender<Result<(), Lost>>>,
}

/// What the connection was asked last. Set before each request: a task may be dropped while it
/// waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No transaction.
    Idle,
    /// A transaction has been asked for; nobody has been a member yet.
    Beginning,
    /// A member is at work, or was.
    Member,
    /// Between two members.
    Between,
}

/// Why a group was lost, for each of its members.
#[derive(Debug, Clone)]
enum Lost {
    Full,
    Busy,
    Failed(String),
}

impl Writer {
    /// A writer on this connection, in a runtime that outlives whoever asks it.
    pub fn new(conn: Conn, rank: Rank) -> Self {
        Self {
            turn: Arc::new(Mutex::new(Some(conn))),
            rank,
            group: Locked::at(Level::Group, Group { stage: Stage::Idle, members: Vec::new() }),
            waiting: AtomicUsize::new(0),
            tip: Locked::new(None),
            commit_comes: AtomicBool::new(false),
            runtime: Handle::current(),
        }
    }

    /// Begins a transaction once it is its turn; `alone`, it is durable before the next one begins.
    ///
    /// # Errors
    /// [`RecordsError::Busy`] if another process writes for too long.
    pub async fn begin(self: &Arc<Self>, alone: bool) -> Result<WriteTx, RecordsError> {
        let mut tx = WriteTx { alone, conn: self.turn().await?, ending: Ending(Arc::clone(self)) };
        self.guess_tip(None);
        self.tidy(&mut tx.conn).await;
        let joins = self.group().stage == Stage::Between;
        self.set(if joins { Stage::Member } else { Stage::Beginning });
        run(&mut tx.conn, if joins { JOIN } else { BEGIN }).await?;
        self.set(Stage::Member);
        Ok(tx)
    }

    /// Carries out a transaction that is known whole but for the row of the audit trail that it
    /// builds on, which `last` asks for where it is not known. False if `bind` gives nothing, or the
    /// trail is empty.
    pub async fn at_once(
        self: &Arc<Self>,
        positions: &'static Positions,
        last: LastRow,
        bind: impl FnOnce(Asked<'static>, Tip, Option<&Sealer>) -> Option<(Asked<'static>, Tip)>,
    ) -> Result<bool, RecordsError> {
        let mut tx = WriteTx { alone: false, conn: self.turn().await?, ending: Ending(Arc::clone(self)) };
        self.tidy(&mut tx.conn).await;
        let known = self.tip.lock().take();
        let tip = match known {
            Some(tip) => tip,
            None => match last(&mut tx.conn).await? {
                Some(tip) => tip,
                None => return Ok(false),
            },
        };
        let joins = self.group().stage == Stage::Between;
        let alone = !joins && self.waiting.load(Ordering::Acquire) == 0;
        let batch = match (alone, joins) {
            (true, _) => &positions.alone,
            (false, false) => &positions.first,
            (false, true) => &positions.next,
        };
        let Some((asked, next)) = bind(batch.query(), tip, tx.conn.sealer()) else { return Ok(false) };
        self.set(if joins { Stage::Member } else { Stage::Beginning });
        if alone {
            let outcome = batch.run(&mut tx.conn, asked).await;
            // Either way the transaction ended with the statement.
            self.set(Stage::Idle);
            if outcome.is_ok() {
                self.guess_tip(Some(next));
                count_commit(1);
            }
            return outcome.map(|()| true);
        }
        batch.run(&mut tx.conn, asked).await?;
        self.guess_tip(Some(next));
        tx.kept().await?;
        Ok(true)
    }

    fn guess_tip(&self, tip: Option<Tip>) {
        *self.tip.lock() = tip;
    }

    /// The turn, in no transaction, for statements that must not be in one.
    pub async fn alone(&self) -> Result<Turn, RecordsError> {
        let mut conn = self.turn().await?;
        self.commit(&mut conn).await;
        Ok(conn)
    }

    /// Makes everything durable that is done, and closes the connection.
    pub async fn close(&self) {
        let _held = self.rank.take();
        let mut turn = self.turn.lock().await;
        if let Some(conn) = turn.as_mut() {
            self.commit(conn).await;
        }
        if let Some(conn) = turn.take()
            && let Err(error) = conn.close().await
        {
            tracing::warn!(%error, "the records were not closed in order; the next start brings them in order");
        }
    }

    async fn turn(&self) -> Result<Turn, RecordsError> {
        let _held = self.rank.take();
        let _waits = Waits::behind(&self.waiting);
        let turn = tokio::time::timeout(BUSY, Arc::clone(&self.turn).lock_owned());
        let turn = turn.await.map_err(|_| RecordsError::Busy)?;
        let conn = OwnedMutexGuard::try_map(turn, Option::as_mut);
        let conn = conn.map_err(|_| RecordsError::Database(sqlx::Error::PoolClosed))?;
        Ok(Turn { conn, _held })
    }

    /// Takes back what a task left behind that failed, gave up, or was dropped.
    async fn tidy(&self, conn: &mut Conn) {
        let stage = self.group().stage;
        match stage {
            Stage::Idle | Stage::Between => {}
            // It has no members. Whether there is a transaction at all is not known, so an error
            // means nothing.
            Stage::Beginning => {
                let _ = run(conn, "ROLLBACK").await;
                self.set(Stage::Idle);
            }
            // If the savepoint is gone, it was kept already, or the group is lost; the commit
            // tells.
            Stage::Member => {
                let _ = run(conn, UNDO).await;
                self.set(Stage::Between);
            }
        }
    }

    /// Makes everything durable that is done, and tells its members.
    async fn commit(&self, conn: &mut Conn) {
        self.tidy(conn).await;
        if self.group().stage == Stage::Idle {
            return;
        }
        let outcome = match run(conn, COMMIT).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let _ = run(conn, "ROLLBACK").await;
                Err(match error {
                    RecordsError::Full => Lost::Full,
                    RecordsError::Busy => Lost::Busy,
                    other => Lost::Failed(other.to_string()),
                })
            }
        };
        let mut group = self.group();
        group.stage = Stage::Idle;
        count_commit(group.members.len() as u64);
        for member in group.members.drain(..) {
            let _ = member.send(outcome.clone());
        }
    }

    fn set(&self, stage: Stage) {
        self.group().stage = stage;
    }

    fn group(&self) -> LockedGuard<'_, Group> {
        self.group.lock()
    }
}

async fn run(conn: &mut Conn, statement: &'static str) -> Result<(), RecordsError> {
    sqlx::raw_sql(statement).execute(conn).await?;
    Ok(())
}

/// A transaction that may write. Dropped without [`commit`](WriteTx::commit), it changes nothing.
#[derive(Debug)]
pub struct WriteTx {
    /// Whether nobody may join before it is durable.
    alone: bool,
    // Dropped in this order: the turn is given back, then a commit is called for.
    conn: Turn,
    ending: Ending,
}

impl WriteTx {
    /// What the statements run on.
    pub fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// Makes it durable, together with others that are under way.
    ///
    /// # Errors
    /// If the database cannot; then nothing has changed.
    pub async fn commit(mut self) -> Result<(), RecordsError> {
        run(&mut self.conn, KEEP).await?;
        self.kept().await
    }

    /// Its savepoint is released: waits until it is durable.
    async fn kept(mut self) -> Result<(), RecordsError> {
        let (done, answer) = oneshot::channel();
        {
            let mut group = self.ending.0.group();
            group.stage = Stage::Between;
            group.members.push(done);
        }
        if self.alone {
            self.ending.0.commit(&mut self.conn).await;
        }
        drop(self);
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Lost::Full)) => Err(RecordsError::Full),
            Ok(Err(Lost::Busy)) => Err(RecordsError::Busy),
            Ok(Err(Lost::Failed(why))) => Err(RecordsError::Database(sqlx::Error::Protocol(why))),
            Err(_) => Err(RecordsError::Database(sqlx::Error::WorkerCrashed)),
        }
    }
}

/// Counts who waits for the turn, as long as it lives.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn behind(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::AcqRel);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn count_commit(transactions: u64) {
    metrics::counter!("tacdrop_commits_total").increment(1);
    metrics::counter!("tacdrop_transactions_total").increment(transactions);
}

/// Ends a group when the turn is given back, if there is one. The commit queues for its own turn,
/// behind everybody who waits already: they all become members first.
#[derive(Debug)]
struct Ending(Arc<Writer>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Whoever has the turn by now ends what he begins.
        if self.0.group().stage == Stage::Idle || self.0.commit_comes.swap(true, Ordering::AcqRel) {
            return;
        }
        let writer = Arc::clone(&self.0);
        self.0.runtime.spawn(async move {
            let _held = writer.rank.take();
            let mut turn = writer.turn.lock().await;
            // Who gives the turn back from now on needs another commit.
            writer.commit_comes.store(false, Ordering::Release);
            if let Some(conn) = turn.as_mut() {
                writer.commit(conn).await;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sqlite::fixtures::{Facts, fact, set_fact};

    async fn has(facts: &Facts, name: &str) -> bool {
        fact(&mut *facts.read().await, name).await.is_some()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_committed_is_there_and_nothing_else_however_tasks_end() {
        let facts = Facts::open().await;
        let mut tasks = Vec::new();
        for number in 0..300u64 {
            let facts = facts.clone();
            let task = tokio::spawn(async move {
                let mut tx = facts.begin().await.unwrap();
                set_fact(tx.conn(), &number.to_string(), "x").await;
                match number % 3 {
                    0 => drop(tx),
                    _ => tx.commit().await.unwrap(),
                }
            });
            if number % 3 == 2 {
                let abort = task.abort_handle();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_micros(number * 37 % 5000)).await;
                    abort.abort();
                });
            }
            tasks.push(task);
        }
        for (number, task) in tasks.into_iter().enumerate() {
            let ended = task.await.is_ok();
            let there = has(&facts, &number.to_string()).await;
            match number % 3 {
                0 => assert!(!there, "{number} was given up"),
                _ => assert!(there || !ended, "{number} was committed"),
            }
        }
        let mut tx = facts.begin().await.unwrap();
        set_fact(tx.conn(), "after", "x").await;
        tx.commit().await.unwrap();
        assert!(has(&facts, "after").await);
        facts.close().await;
        assert!(facts.begin().await.is_err());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_group_that_the_database_rolled_back_is_acknowledged_to_nobody() {
        let facts = Facts::open().await;
        let mut first = facts.begin().await.unwrap();
        set_fact(first.conn(), "first", "x").await;
        let other = facts.clone();
        let second = tokio::spawn(async move {
            let mut tx = other.begin().await.unwrap();
            // What SQLite does by itself on some errors.
            run(tx.conn(), "ROLLBACK").await.unwrap();
            tx.commit().await
        });
        // The second one waits for its turn, so it joins the group.
        while Arc::strong_count(&first.ending.0) < 2 {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(first.commit().await.is_err());
        assert!(second.await.unwrap().is_err());
        assert!(!has(&facts, "first").await);
        let mut tx = facts.begin().await.unwrap();
        set_fact(tx.conn(), "third", "x").await;
        tx.commit().await.unwrap();
        assert!(has(&facts, "third").await);
    }
}
