//! Random lives of a few files against a model: after each step the share holds what the model
//! holds.

use std::collections::BTreeMap;

use super::lifecycle::{HOUR, cut, lines, sums_are_right};
use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Act {
    Upload { name: usize, length: usize, seed: u8 },
    Append { name: usize, length: usize, seed: u8 },
    Cut { name: usize },
    Rename { from: usize, to: usize },
    Delete { name: usize },
    Withdraw { name: usize },
    Restore { name: usize },
    ShredAll { name: usize },
    ShredOne { name: usize, number: u64 },
    Day,
    Week,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let name = || 0..NAMES.len();
    let length = || prop_oneof![3 => 0usize..3_000, 1 => 60_000usize..200_000];
    let act = prop_oneof![
        6 => (name(), length(), any::<u8>()).prop_map(|(name, length, seed)| Act::Upload { name, length, seed }),
        3 => (name(), length(), any::<u8>()).prop_map(|(name, length, seed)| Act::Append { name, length, seed }),
        2 => name().prop_map(|name| Act::Cut { name }),
        4 => (name(), name()).prop_map(|(from, to)| Act::Rename { from, to }),
        3 => name().prop_map(|name| Act::Delete { name }),
        1 => name().prop_map(|name| Act::Withdraw { name }),
        4 => name().prop_map(|name| Act::Restore { name }),
        1 => name().prop_map(|name| Act::ShredAll { name }),
        3 => (name(), 1u64..6).prop_map(|(name, number)| Act::ShredOne { name, number }),
        1 => Just(Act::Day),
        1 => Just(Act::Week),
    ];
    prop::collection::vec(act, 1..25)
}

/// A file as it should be: what each version holds (nothing once shredded), which one readers get,
/// which one is unfinished.
#[derive(Debug, Clone, Default)]
struct File {
    versions: BTreeMap<u64, Option<Vec<u8>>>,
    current: Option<u64>,
    receiving: Option<u64>,
}

impl File {
    fn next(&self) -> u64 {
        self.versions.keys().last().copied().unwrap_or(0) + 1
    }

    fn drop_receiving(&mut self) {
        if let Some(number) = self.receiving.take() {
            self.versions.insert(number, None);
        }
    }

    fn newest(&self) -> Option<u64> {
        self.versions.iter().rev().find(|(_, bytes)| bytes.is_some()).map(|(number, _)| *number)
    }

    fn shred(&mut self, number: u64) {
        self.versions.insert(number, None);
        if self.receiving == Some(number) {
            self.receiving = None;
        }
        if self.current == Some(number) {
            let older = self.versions.iter().rev();
            self.current = older
                .filter(|(other, bytes)| bytes.is_some() && self.receiving != Some(**other))
                .map(|(other, _)| *other)
                .next();
        }
    }

    fn has_keys(&self) -> bool {
        self.newest().is_some()
    }
}

#[derive(Debug, Default)]
struct Model {
    here: BTreeMap<&'static str, File>,
    /// Oldest first.
    away: Vec<(&'static str, File)>,
}

impl Model {
    fn withdraw(&mut self, name: &'static str) -> bool {
        let Some(mut file) = self.here.remove(name) else { return false };
        file.drop_receiving();
        self.away.push((name, file));
        true
    }

    /// What is sent under a name whose file is not there goes on with the newest one that was.
    fn begin(&mut self, name: &'static str) -> &mut File {
        if !self.here.contains_key(name) {
            let at = self.away.iter().rposition(|(known, _)| *known == name);
            let mut file = at.map(|at| self.away.remove(at).1).unwrap_or_default();
            file.current = None;
            self.here.insert(name, file);
        }
        self.here.get_mut(name).unwrap()
    }

    /// A file of which nothing can be read or continued goes out of sight.
    fn settle(&mut self, name: &'static str) {
        if self.here.get(name).is_some_and(|file| file.current.is_none() && file.receiving.is_none()) {
            self.withdraw(name);
        }
    }

    fn end_graces(&mut self) {
        for (_, file) in &mut self.away {
            file.current = None;
            file.versions.values_mut().for_each(|bytes| *bytes = None);
        }
    }

    async fn act(&mut self, app: &App, session: &ShareSession, act: &Act) {
        let ticket = word("XT-1");
        match *act {
            Act::Upload { name, length, seed } => {
                let (name, bytes) = (NAMES[name], pattern(length, seed));
                put(session, name, &bytes).await;
                let file = self.begin(name);
                let number = file.next();
                file.drop_receiving();
                file.versions.insert(number, Some(bytes));
                file.current = Some(number);
            }
            Act::Append { name, length, seed } => {
                let (name, more) = (NAMES[name], pattern(length + 1, seed));
                let Some(file) = self.here.get_mut(name).filter(|file| file.receiving.is_none()) else { return };
                let mode = WriteMode { append: true, ..WriteMode::default() };
                let mut upload = session.open_write(&path(name), mode).await.unwrap();
                write(&mut upload, 0, &more).await;
                upload.close().await.unwrap();
                let mut bytes = file.versions[&file.current.unwrap()].clone().unwrap();
                bytes.extend(more);
                let number = file.next();
                file.versions.insert(number, Some(bytes));
                file.current = Some(number);
            }
            Act::Cut { name } => {
                let name = NAMES[name];
                cut(app, session, name, b"not all of it").await;
                let file = self.begin(name);
                let number = file.next();
                file.drop_receiving();
                file.versions.insert(number, Some(b"not all of it".to_vec()));
                file.receiving = Some(number);
            }
            Act::Rename { from, to } => {
                let (from, to) = (NAMES[from], NAMES[to]);
                let done = session.rename(&path(from), &path(to), true).await.is_ok();
                assert_eq!(done, self.here.contains_key(from));
                if !done || from == to {
                    return;
                }
                let mut file = self.here.remove(from).unwrap();
                if let Some(mut over) = self.here.remove(to) {
                    over.drop_receiving();
                    let base = over.next() - 1;
                    let moved = file.versions.into_iter().map(|(number, bytes)| (number + base, bytes));
                    over.versions.extend(moved);
                    file = File {
                        versions: over.versions,
                        current: file.current.map(|number| number + base),
                        receiving: file.receiving.map(|number| number + base),
                    };
                }
                self.here.insert(to, file);
            }
            Act::Delete { name } => {
                let done = session.remove_file(&path(NAMES[name])).await.is_ok();
                assert_eq!(done, self.withdraw(NAMES[name]));
            }
            Act::Withdraw { name } => {
                let done = app.retention().withdraw(&ticket, &path(NAMES[name])).await.is_ok();
                assert_eq!(done, self.withdraw(NAMES[name]));
            }
            Act::Restore { name } => {
                let name = NAMES[name];
                let done = app.retention().restore(&ticket, &path(name)).await.is_ok();
                let at = self.away.iter().rposition(|(known, file)| *known == name && file.has_keys());
                let at = at.filter(|_| !self.here.contains_key(name));
                assert_eq!(done, at.is_some());
                let Some(at) = at else { return };
                let (name, mut file) = self.away.remove(at);
                file.current = file.current.or(file.newest());
                self.here.insert(name, file);
            }
            Act::ShredAll { name } => self.shred(app, NAMES[name], None).await,
            Act::ShredOne { name, number } => self.shred(app, NAMES[name], Some(number)).await,
            Act::Day => {
                app.0.access.repo.clock.advance(25 * HOUR);
                app.retention().expire().await.unwrap();
                self.end_graces();
            }
            Act::Week => {
                // The first step warns; the second one removes, and begins the grace of what goes
                // out of sight by that.
                app.0.access.repo.clock.advance(8 * 24 * HOUR);
                app.retention().expire().await.unwrap();
                self.end_graces();
                app.0.access.repo.clock.advance(24 * HOUR);
                app.retention().expire().await.unwrap();
                for name in NAMES {
                    if let Some(file) = self.here.get_mut(name) {
                        file.drop_receiving();
                        self.settle(name);
                    }
                }
            }
        }
    }

    async fn shred(&mut self, app: &App, name: &'static str, only: Option<u64>) {
        let done = app.retention().shred(&word("XT-1"), &path(name), only).await.is_ok();
        let away = self.away.iter().rposition(|(known, file)| *known == name && file.has_keys());
        let file = match (self.here.get_mut(name), away) {
            (Some(file), _) => Some(file),
            (None, at) => at.map(|at| &mut self.away[at].1),
        };
        let numbers: Vec<u64> = file
            .iter()
            .flat_map(|file| &file.versions)
            .filter(|(_, bytes)| bytes.is_some())
            .map(|(number, _)| *number)
            .filter(|number| only.is_none_or(|only| only == *number))
            .collect();
        assert_eq!(done, !numbers.is_empty(), "{name} {only:?}");
        if let Some(file) = file {
            // All at once: nothing takes the current one's place for a moment.
            for number in numbers.into_iter() {
                file.shred(number);
            }
        }
        self.settle(name);
    }

    async fn agrees(&self, app: &App, session: &ShareSession) -> Result<(), TestCaseError> {
        let support = engineer(app).await;
        for name in NAMES {
            match self.here.get(name) {
                None => prop_assert_eq!(session.attributes(&path(name)).await, Err(Refusal::NoSuchFile), "{}", name),
                Some(File { current: None, .. }) => {
                    prop_assert_eq!(get(session, name).await, Err(Refusal::StillReceiving), "{}", name);
                }
                Some(file) => {
                    let bytes = file.versions[&file.current.unwrap()].as_ref().unwrap();
                    let support = get(&support, &format!("XT-1/{name}")).await;
                    prop_assert!(support.as_ref() == Ok(bytes), "{} differs", name);
                    let sender = if file.receiving.is_some() { Err(Refusal::NewerUnfinished) } else { support };
                    prop_assert!(get(session, name).await == sender, "{} differs for who sends it", name);
                }
            }
        }
        let mut expected = Vec::new();
        let everything = self.here.iter().map(|(name, file)| (*name, file, false));
        for (name, file, away) in everything.chain(self.away.iter().map(|(name, file)| (*name, file, true))) {
            for (number, bytes) in &file.versions {
                let state = match bytes {
                    None => VersionState::Shredded,
                    Some(_) if file.receiving == Some(*number) => VersionState::Receiving,
                    Some(_) if away => VersionState::Withdrawn,
                    Some(_) => VersionState::Available,
                };
                expected.push((name.to_owned(), *number, state.as_str(), !away && file.current == Some(*number)));
            }
        }
        let mut found: Vec<_> = lines(app)
            .await
            .into_iter()
            .map(|line| {
                let here = line.current && line.state == VersionState::Available;
                (line.path, line.version, line.state.as_str(), here)
            })
            .collect();
        expected.sort();
        found.sort();
        prop_assert_eq!(found, expected);
        sums_are_right(app).await;
        Ok(())
    }
}

#[test]
fn r27_the_lives_of_files_agree_with_a_model() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(acts in acts())| {
        runtime.block_on(async {
            let fixture = Fixture::new();
            let app = fixture.open().await;
            let session = customer(&app, "XT-1").await;
            let mut model = Model::default();
            for act in &acts {
                model.act(&app, &session, act).await;
                model.agrees(&app, &session).await?;
                all_intact(&app).await;
            }
            app.retention().remove_doomed(Duration::ZERO).await.unwrap();
            all_intact(&app).await;
            super::compare::rows_are_as_told(&app).await;
            app.close().await;
            Ok::<_, TestCaseError>(())
        })?;
    });
}
