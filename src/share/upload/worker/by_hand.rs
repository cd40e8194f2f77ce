//! A worker that a test gives its jobs one by one: what sessions send depends on when the worker comes to it.

use std::sync::Arc;

use super::Worker;
use crate::namespace::tree::{Reach, Spot};
use crate::records::tickets;
use crate::share::tests::path;
use crate::share::upload::buffer::Buffer;
use crate::share::upload::{Lane, Start};
use crate::share::{View, WriteMode};

/// The worker of a new file, without anybody who gives it jobs.
pub(super) async fn worker(view: &View, name: &str) -> Worker {
    let house = view.house();
    let mut conn = house.records.read().await.unwrap();
    let ticket = tickets::by_reference(&mut conn, "XT-1").await.unwrap().unwrap();
    let keys = house.keys.share(ticket.share).await.unwrap();
    let reach = Reach { ticket: ticket.reference, keys, aliases: false };
    let spot = Spot::find(&mut conn, reach, path(name).names()).await.unwrap();
    drop(conn);
    let mode = WriteMode { create: true, truncate: true, ..WriteMode::default() };
    let start = Start::of(view, &spot, mode).await.unwrap();
    let room = house.room.promise(view.login().user()).unwrap();
    let (ids, sizes) = ((start.ledger.artifact, start.ledger.version), (start.holds, start.length(), start.floor));
    let lane = Lane::new(ids, view.session(), spot.place().unwrap(), sizes, 0o640);
    Worker::new(Arc::clone(house), Arc::new(lane), start, room)
}

/// A buffer that holds these bytes.
pub(super) fn buffer(bytes: &[u8]) -> Buffer {
    let mut buffer = Buffer::outside_budget();
    buffer.push(bytes);
    buffer
}
