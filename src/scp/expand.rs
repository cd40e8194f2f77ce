//! From the words of a command line to paths: wildcards are looked up in the share, name by name, as a shell does in a
//! directory.

use super::Argument;
use super::pattern::Pattern;
use super::reply::Complaint;
use crate::model::path::MAX_PATH;
use crate::model::{FileName, Kind, Refusal, SharePath};
use crate::share::{PlaceKind, View};

/// Names that the patterns of one command may fit, in all. More: an error.
const MOST_FITTING: usize = 4096;
/// Names that may be looked at for one command, in all. More: an error.
const MOST_LOOKED_AT: usize = 200_000;
/// Steps that comparing them may take, in all. More: an error.
const MOST_STEPS: u64 = 100_000_000;
/// Names that are read at once.
const PAGE: usize = 100;

/// What is left for one command.
pub(super) struct Expansion {
    fitting: usize,
    looked_at: usize,
    steps: u64,
}

impl Expansion {
    pub(super) const fn new() -> Self {
        Self { fitting: MOST_FITTING, looked_at: MOST_LOOKED_AT, steps: MOST_STEPS }
    }

    /// The paths that a word stands for, sorted. One that fits nothing stands for itself, as in a shell.
    pub(super) async fn paths(&mut self, view: &View, word: &Argument) -> Result<Vec<SharePath>, Complaint> {
        if word.wild.is_empty() {
            return Ok(vec![SharePath::parse(&word.bytes)?]);
        }
        if word.bytes.len() > MAX_PATH {
            return Err(Refusal::PathTooLong.into());
        }
        let mut found = vec![SharePath::ROOT];
        let mut at = 0;
        for segment in word.bytes.split(|byte| *byte == b'/') {
            let end = at + segment.len();
            let wild: Vec<usize> =
                word.wild.iter().filter(|place| (at..end).contains(*place)).map(|place| place - at).collect();
            at = end + 1;
            found = if wild.is_empty() {
                self.step_down(found, segment)?
            } else {
                let is_last = end >= word.bytes.len();
                self.look_up(view, found, &Pattern::new(segment, &wild), is_last).await?
            };
        }
        // Names behind the last wildcard were only assumed.
        let mut there = Vec::new();
        for path in found {
            if self.is_there(view, &path).await? {
                there.push(path);
            }
        }
        if there.is_empty() {
            return Ok(vec![SharePath::parse(&word.bytes)?]);
        }
        there.sort_by_cached_key(SharePath::to_bytes);
        Ok(there)
    }

    /// Every path with one more name that is no pattern.
    fn step_down(&self, paths: Vec<SharePath>, segment: &[u8]) -> Result<Vec<SharePath>, Complaint> {
        let mut below = Vec::with_capacity(paths.len());
        for path in paths {
            below.push(match segment {
                b"" | b"." => path,
                b".." => path.split_last().map_or(SharePath::ROOT, |(above, _)| above),
                name => path.join(FileName::new(name).map_err(|_| Refusal::BadName)?),
            });
        }
        Ok(below)
    }

    /// Every name below these paths that fits; directories only, unless it is the last name.
    async fn look_up(
        &mut self,
        view: &View,
        paths: Vec<SharePath>,
        pattern: &Pattern,
        is_last: bool,
    ) -> Result<Vec<SharePath>, Complaint> {
        let mut found = Vec::new();
        for path in paths {
            let mut listing = match view.list(&path).await {
                Ok(listing) => listing,
                // A file on the way, or nothing at all: a shell passes over them.
                Err(refusal) if passes_over(refusal) => continue,
                Err(refusal) => return Err(refusal.into()),
            };
            loop {
                let page = listing.next(PAGE).await?;
                if page.is_empty() {
                    break;
                }
                self.looked_at = self.looked_at.checked_sub(page.len()).ok_or(Complaint::TooManyNames)?;
                for entry in page {
                    let (fits, steps) = pattern.fits(entry.name.as_bytes());
                    self.steps = self.steps.checked_sub(steps).ok_or(Complaint::TooManyNames)?;
                    if fits && (is_last || entry.attributes.kind == PlaceKind::Directory) {
                        self.fitting = self.fitting.checked_sub(1).ok_or(Complaint::TooManyNames)?;
                        found.push(path.join(entry.name));
                    }
                }
            }
        }
        Ok(found)
    }

    async fn is_there(&self, view: &View, path: &SharePath) -> Result<bool, Complaint> {
        match view.attributes(path).await {
            Ok(_) => Ok(true),
            Err(refusal) if passes_over(refusal) => Ok(false),
            Err(refusal) => Err(refusal.into()),
        }
    }
}

fn passes_over(refusal: Refusal) -> bool {
    refusal.kind() == Kind::NotFound || refusal == Refusal::NotDirectory
}
