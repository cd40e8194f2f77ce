//! Extents that no run of the client brings: copies of what a file held before, and zeros that were
//! left out.

use super::super::buffer::{Buffer, CHUNK};
use super::Worker;
use crate::content::Content;
use crate::model::{ObjectId, Refusal};
use crate::repo::Error;
use crate::vault::{Piece, Slice};

/// Zeros that a CLOSE may fill in: those that a sparse file leaves out, and those by which a client
/// made a file longer. They are hashed at the CLOSE, at some seconds for each GiB.
const MOST_ZEROS: u64 = 4 << 30;

impl Worker {
    /// Writes one extent that is no part of any run: a copy of what `source` holds from an offset
    /// on, or zeros. It is durable when this returns.
    pub(super) async fn write_aside(
        &mut self,
        length: u64,
        source: Option<(&Content, u64)>,
    ) -> Result<ObjectId, Error> {
        self.changed = true;
        let mut extent = self.upload_rows.begin_extent()?;
        let (mut done, mut last_is_sealed, mut bytes) = (0, false, Vec::new());
        while done < length {
            let part = (length - done).min(CHUNK as u64);
            bytes.clear();
            match source {
                Some((content, at)) => content.read(at + done, part, &mut bytes).await?,
                None => bytes.resize(usize::try_from(part).unwrap_or(CHUNK), 0),
            }
            done += part;
            self.reservation.spend(part)?;
            let mut buffer = Buffer::outside_budget();
            buffer.push(&bytes);
            last_is_sealed = done == length && !buffer.is_full();
            extent.take(&self.uploads.repo, &mut buffer, done == length)?;
            tokio::task::yield_now().await;
        }
        let mut ended = extent.end(&self.uploads.repo, last_is_sealed)?;
        ended.settle().await?;
        let id = ended.id;
        self.arrived.extents.insert(id, ended);
        Ok(id)
    }

    /// Lays zeros where its sender left them out, or made the file longer and wrote nothing. One
    /// extent serves for all.
    pub(super) async fn fill_zeros(&mut self, length: u64) -> Result<(), Error> {
        if self.queue.leaves_out_zeros() {
            self.zeros = vec![(0, length)];
        }
        let holes: Vec<(u64, u64)> = self
            .zeros
            .iter()
            .flat_map(|(start, end)| self.arrived.map.range(*start, (*end).min(length).saturating_sub(*start)))
            .filter_map(|piece| match piece {
                Piece::Hole { offset, length } => Some((offset, length)),
                Piece::Data(_) => None,
            })
            .collect();
        let Some(longest) = holes.iter().map(|(_, length)| *length).max() else { return Ok(()) };
        let zeros = holes.iter().map(|(_, length)| *length).fold(0, u64::saturating_add);
        if zeros > MOST_ZEROS {
            self.write_progress(true).await?;
            return Err(Refusal::TooManyZeros.into());
        }
        self.upload_rows.zeros = zeros;
        let piece = longest.min(self.uploads.repo.settings.extent_bytes);
        let extent = self.write_aside(piece, None).await?;
        for (offset, length) in holes {
            let mut at = offset;
            while at < offset + length {
                let part = (offset + length - at).min(piece);
                self.arrived.map.lay(Slice { offset: at, length: part, extent, within: 0 });
                at += part;
            }
        }
        Ok(())
    }
}
