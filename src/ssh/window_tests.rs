use std::collections::VecDeque;

use super::*;

const MIB: u32 = 1 << 20;
const PACKET: u64 = 32 * 1024;
const START: u32 = 2 * MIB;
const MOST: u32 = 64 * MIB;
const BEGIN: Moment = Moment { at: Duration::ZERO, blocked: Duration::ZERO, tcp_buffer: u32::MAX };
/// Keys that are not changed.
const NEVER: (u64, Duration) = (u64::MAX, Duration::MAX);

/// What lies between a sender and the server, and what holds the sender back beside the window.
#[derive(Clone, Copy)]
struct Line {
    /// There and back, in seconds.
    trip: f64,
    /// Bytes in a second that it carries.
    rate: f64,
    /// What the sender's TCP keeps on its way at most.
    tcp: f64,
    /// What TCP says that it holds for the server at most.
    buffer: u32,
    /// Bytes in a second that the sender's disk gives.
    disk: f64,
    /// Bytes in a second that the server takes.
    server: f64,
}

impl Line {
    fn of(millis: f64, mbit: f64) -> Self {
        let huge = 1e12;
        Self { trip: millis / 1000.0, rate: mbit * 125_000.0, tcp: huge, buffer: u32::MAX, disk: huge, server: 900e6 }
    }
}

/// A sender, a line and russh's end of it, packet by packet in simulated time.
struct Simulation {
    window: Window<u32>,
    channels: Vec<Channel>,
    now: f64,
    blocked: f64,
    /// When the line is free again, and the disk.
    line_free: f64,
    disk_free: f64,
    /// Arrivals of packets that TCP has not acknowledged.
    unacknowledged: VecDeque<f64>,
    /// What TCP may have on its way: it begins small and doubles in each trip.
    congestion: f64,
    received: u64,
}

#[derive(Default)]
struct Channel {
    /// What the sender knows that it may send.
    credit: u64,
    /// Top-ups on their way to it: when they arrive, and how much they are.
    adjusts: VecDeque<(f64, u64)>,
    /// russh's count.
    left: u32,
    /// Packets on their way: when they arrive, and their size.
    packets: VecDeque<(f64, u64)>,
    largest: u32,
}

impl Simulation {
    fn new(channels: usize, most: u32, pool: &Pool) -> Self {
        Self::starting(START, channels, most, pool)
    }

    fn starting(start: u32, channels: usize, most: u32, pool: &Pool) -> Self {
        let channel = || Channel { credit: u64::from(start), left: start, ..Channel::default() };
        Self {
            window: Window::new(start, most, pool, NEVER),
            channels: (0..channels).map(|_| channel()).collect(),
            now: 0.0,
            blocked: 0.0,
            line_free: 0.0,
            disk_free: 0.0,
            unacknowledged: VecDeque::new(),
            congestion: 90_000.0,
            received: 0,
        }
    }

    /// Lets the sender send until `seconds` have passed. Returns bytes in a second.
    fn run(&mut self, line: Line, seconds: f64) -> f64 {
        let (end, before) = (self.now + seconds, self.received);
        let began = self.now;
        while self.now < end {
            for index in 0..self.channels.len() {
                self.send(index, line);
            }
            if !self.take(line) {
                break;
            }
        }
        (self.received - before) as f64 / (self.now - began)
    }

    /// Sends as much as it may by what is known at the moment of sending; packets are put onto the
    /// line in their order.
    fn send(&mut self, index: usize, line: Line) {
        let channel = &mut self.channels[index];
        loop {
            let mut at = self.line_free.max(self.disk_free).max(self.now - line.trip);
            while channel.credit == 0 {
                let Some((arrives, more)) = channel.adjusts.pop_front() else { return };
                at = at.max(arrives);
                channel.credit += more;
            }
            while channel.adjusts.front().is_some_and(|(arrives, _)| *arrives <= at) {
                channel.credit += channel.adjusts.pop_front().unwrap().1;
            }
            let size = channel.credit.min(PACKET);
            let flying = (self.unacknowledged.len() as u64 * PACKET) as f64;
            if flying >= line.tcp.min(self.congestion) {
                // Acknowledged half a trip behind its arrival, which makes room for it and one
                // more.
                let acknowledged = self.unacknowledged.front().unwrap() + line.trip / 2.0;
                if acknowledged > self.now + line.trip {
                    return;
                }
                self.unacknowledged.pop_front();
                self.congestion += PACKET as f64;
                at = at.max(acknowledged);
            }
            channel.credit -= size;
            self.line_free = at.max(self.line_free) + size as f64 / line.rate;
            self.disk_free = at.max(self.disk_free) + size as f64 / line.disk;
            let arrives = self.line_free + line.trip / 2.0;
            self.unacknowledged.push_back(arrives);
            channel.packets.push_back((arrives, size));
            if channel.packets.len() > 8192 {
                return;
            }
        }
    }

    /// The server takes the next packet. False: there is none.
    fn take(&mut self, line: Line) -> bool {
        let first = |channel: &Channel| channel.packets.front().map(|(at, _)| *at);
        let next = (0..self.channels.len()).filter_map(|index| Some((first(&self.channels[index])?, index)));
        let Some((arrives, index)) = next.min_by(|(a, _), (b, _)| a.total_cmp(b)) else { return false };
        let (_, size) = self.channels[index].packets.pop_front().unwrap();
        if arrives > self.now {
            self.blocked += arrives - self.now;
            self.now = arrives;
        }
        let (at, blocked) = (Duration::from_secs_f64(self.now), Duration::from_secs_f64(self.blocked));
        let moment = Moment { at, blocked, tcp_buffer: line.buffer };
        let target = self.window.replied_at;
        let channel = &mut self.channels[index];
        // As russh does it.
        channel.left = channel.left.saturating_sub(u32::try_from(size).unwrap());
        if channel.left < target / 2 {
            channel.adjusts.push_back((self.now + line.trip / 2.0, u64::from(target - channel.left)));
            channel.left = target;
            channel.largest = channel.largest.max(target);
            self.window.topped_up(u32::try_from(index).unwrap(), moment);
        }
        self.window.received(u32::try_from(index).unwrap(), usize::try_from(size).unwrap(), moment);
        self.received += size;
        self.now += size as f64 / line.server;
        true
    }
}

fn pool() -> Pool {
    Pool::new(1 << 40)
}

/// The window after some seconds on a line, and the rate of the second half.
fn settle(line: Line, seconds: f64) -> (u32, f64) {
    let mut simulation = Simulation::new(1, MOST, &pool());
    simulation.run(line, seconds / 2.0);
    let rate = simulation.run(line, seconds / 2.0);
    (simulation.window.target, rate)
}

#[test]
fn a_near_line_keeps_the_window_that_it_began_with() {
    for millis in [0.02, 0.1, 0.5] {
        let (window, _) = settle(Line::of(millis, 40_000.0), 4.0);
        assert_eq!(window, START, "{millis} ms");
    }
}

#[test]
fn a_client_that_waits_for_its_processor_is_no_far_line() {
    let mut simulation = Simulation::new(1, MOST, &pool());
    simulation.window.answered(Duration::from_micros(900));
    // It answers a few milliseconds late each time, as if the line were so long.
    simulation.run(Line::of(5.0, 10_000.0), 5.0);
    assert_eq!(simulation.window.target, START);
    simulation.window.answered(Duration::from_secs(1));
    let mut simulation = Simulation::new(1, MOST, &pool());
    simulation.window.answered(Duration::from_millis(5));
    simulation.run(Line::of(5.0, 10_000.0), 5.0);
    assert!(simulation.window.target > START);
}

#[test]
fn a_far_line_gets_a_window_that_fills_it_and_not_much_more() {
    for (millis, mbit) in [(10.0, 1000.0), (10.0, 10_000.0), (100.0, 1000.0), (250.0, 500.0), (250.0, 1000.0)] {
        let line = Line::of(millis, mbit);
        let (window, rate) = settle(line, 20.0);
        let holds = line.trip * line.rate.min(line.server);
        let full = (0.8 * line.rate.min(line.server)).min(0.9 * f64::from(MOST / 2) / line.trip);
        assert!(rate >= full, "{millis} ms, {mbit} Mbit/s: {rate} with {window}");
        assert!(f64::from(window) <= (8.0 * holds).max(f64::from(START)), "{millis} ms, {mbit} Mbit/s: {window}");
    }
}

#[test]
fn a_slow_line_needs_nothing_however_far_it_is() {
    for (millis, mbit) in [(10.0, 10.0), (100.0, 10.0), (250.0, 20.0), (600.0, 2.0)] {
        let (window, rate) = settle(Line::of(millis, mbit), 60.0);
        assert!(rate >= 0.9 * mbit * 125_000.0, "{millis} ms, {mbit} Mbit/s: {rate}");
        assert_eq!(window, START, "{millis} ms, {mbit} Mbit/s");
    }
}

#[test]
fn what_tcp_cannot_carry_is_not_asked_for() {
    for (tcp, buffer, most) in [
        (2.2e6, u32::MAX, 8 * MIB),
        (2.8e6, u32::MAX, 8 * MIB),
        // Half of 8 MiB is little more than what comes, and one step is taken before that is seen.
        (3.5e6, u32::MAX, 16 * MIB),
        (2.8e6, 6 * MIB, 6 * MIB),
        (3.5e6, 7 * MIB, 7 * MIB),
    ] {
        for millis in [50.0, 100.0, 250.0] {
            let line = Line { tcp, buffer, ..Line::of(millis, 1000.0) };
            let mut simulation = Simulation::new(1, MOST, &pool());
            simulation.run(line, 10.0);
            let rate = simulation.run(line, 10.0);
            let largest = simulation.channels[0].largest;
            assert!(rate >= 0.9 * tcp / line.trip && largest <= most, "{tcp}, {millis} ms: {rate} with {largest}");
        }
    }
    // Half of 8 MiB comes in 1.2 trips here, and with gaps: TCP is as slow as that, not the window.
    let mut simulation = Simulation::new(1, MOST, &pool());
    simulation.run(Line { tcp: 3.5e6, ..Line::of(50.0, 1000.0) }, 10.0);
    assert_eq!(simulation.channels[0].largest, 8 * MIB);
}

#[test]
fn what_tcp_holds_is_no_limit_where_more_comes_through() {
    // Behind a relay it is the buffer of the last stretch, and some systems' are as large as what
    // they let through.
    for buffer in [128 << 10, START, 3 * MIB, 6 * MIB] {
        let (window, rate) = settle(Line { buffer, ..Line::of(100.0, 1000.0) }, 20.0);
        assert!(rate >= 0.8 * 125e6, "{buffer}: {rate} with {window}");
    }
}

#[test]
fn a_small_window_grows_as_well() {
    // Half of it comes in half a trip, in a few packets.
    for (start, mbit) in [(256 << 10, 20.0), (512 << 10, 40.0), (256 << 10, 100.0)] {
        let line = Line::of(100.0, mbit);
        let mut simulation = Simulation::starting(start, 1, MOST, &pool());
        simulation.run(line, 10.0);
        let rate = simulation.run(line, 10.0);
        assert!(rate >= 0.8 * line.rate, "{start}, {mbit} Mbit/s: {rate} with {}", simulation.window.target);
    }
}

#[test]
fn a_slow_disk_of_the_sender_gives_the_window_back() {
    let pool = pool();
    let mut simulation = Simulation::new(1, MOST, &pool);
    let line = Line::of(100.0, 1000.0);
    simulation.run(line, 10.0);
    assert!(simulation.window.target >= 16 * MIB && pool.granted() > 0);
    let slow = Line { disk: 4e6, ..line };
    let rate = simulation.run(slow, 240.0);
    assert!(rate > 3.8e6, "{rate}");
    assert!(simulation.window.target <= 4 * MIB, "{}", simulation.window.target);
    assert!(pool.granted() <= u64::from(16 * MIB), "{}", pool.granted());
    // And it has it again when it is fast again.
    simulation.run(line, 10.0);
    assert!(simulation.run(line, 5.0) > 0.8 * line.rate);
}

#[test]
fn a_line_that_changes_is_followed() {
    let mut simulation = Simulation::new(1, MOST, &pool());
    let (near, far) = (Line::of(10.0, 1000.0), Line::of(100.0, 1000.0));
    simulation.run(near, 15.0);
    assert!(simulation.window.target <= 8 * MIB);
    simulation.run(far, 40.0);
    assert!(simulation.run(far, 5.0) > 0.8 * far.rate, "{}", simulation.window.target);
}

#[test]
fn a_pause_changes_nothing() {
    let mut simulation = Simulation::new(1, MOST, &pool());
    let line = Line::of(0.1, 10_000.0);
    for _ in 0..20 {
        simulation.run(line, 3.5);
        // The sender sleeps, with whatever it may still send.
        let until = simulation.now + 3.0;
        simulation.line_free = until;
    }
    assert!(simulation.window.target <= 2 * START, "{}", simulation.window.target);
    let line = Line::of(100.0, 1000.0);
    let mut simulation = Simulation::new(1, MOST, &pool());
    simulation.run(line, 5.0);
    let before = simulation.window.target;
    simulation.line_free = simulation.now + 30.0;
    simulation.run(line, 35.0);
    assert!(simulation.window.target >= before / 2, "{}", simulation.window.target);
    assert!(simulation.run(line, 3.0) > 0.8 * line.rate);
}

#[test]
fn a_larger_window_that_slows_the_sender_down_is_taken_back() {
    let pool = pool();
    let mut simulation = Simulation::new(1, MOST, &pool);
    let mut line = Line::of(20.0, 10_000.0);
    let mut largest = 0;
    for _ in 0..2000 {
        // A client that moves about what it may send ahead.
        line.disk = if simulation.window.target > START { 30e6 } else { 200e6 };
        simulation.run(line, 0.01);
        largest = largest.max(simulation.window.target);
    }
    assert!(largest > START);
    // Tried again ever more seldom.
    assert!(simulation.window.held.1 >= Duration::from_secs(8), "{:?}", simulation.window.held);
    let mut small = 0;
    for _ in 0..2000 {
        line.disk = if simulation.window.target > START { 30e6 } else { 200e6 };
        simulation.run(line, 0.01);
        small += u32::from(simulation.window.target == START);
    }
    assert!(small > 1500, "{small}");
}

#[test]
fn channels_share_the_most_of_their_connection() {
    let pool = pool();
    let mut simulation = Simulation::new(4, MOST, &pool);
    let rate = simulation.run(Line::of(250.0, 1000.0), 30.0);
    assert!(rate > 60e6, "{rate}");
    assert!(simulation.window.target <= MOST / 4);
    assert!(pool.granted() <= u64::from(MOST));
    drop(simulation);
    assert_eq!(pool.granted(), 0);
}

#[test]
fn the_pool_bounds_all_and_gets_everything_back() {
    let pool = Pool::new(u64::from(20 * MIB));
    let line = Line::of(100.0, 1000.0);
    let mut all: Vec<_> = (0..5).map(|_| Simulation::new(1, MOST, &pool)).collect();
    for _ in 0..10 {
        for simulation in &mut all {
            simulation.run(line, 1.0);
            assert!(pool.granted() <= u64::from(20 * MIB));
            let target = simulation.window.target;
            assert!((START..=MOST).contains(&target));
        }
    }
    // Who got nothing goes on as it was.
    assert!(all.iter().any(|simulation| simulation.window.target == START));
    assert!(all.iter_mut().all(|simulation| simulation.run(line, 1.0) > 9e6));
    all.truncate(1);
    all[0].run(line, 3.0);
    assert!(all[0].window.target >= 8 * MIB);
    let window = &mut all[0].window;
    window.closed(0);
    assert_eq!(pool.granted(), 0);
}

#[test]
fn a_further_channel_is_counted_even_beyond_the_pool_and_ends_all_growth() {
    let pool = Pool::new(u64::from(6 * MIB));
    let mut window = Window::new(START, MOST, &pool, NEVER);
    window.target = 8 * MIB;
    window.topped_up(1_u32, BEGIN);
    assert_eq!(pool.granted(), u64::from(6 * MIB));
    assert_eq!(window.topped_up(2, BEGIN), START);
    assert_eq!(pool.granted(), u64::from(12 * MIB));
    window.closed(1);
    window.closed(2);
    assert_eq!(pool.granted(), 0);
}

#[test]
fn a_peer_beyond_its_window_gets_none() {
    let pool = pool();
    let mut window = Window::new(START, MOST, &pool, NEVER);
    let mut at = Duration::ZERO;
    for packet in 0..100_000 {
        at += Duration::from_micros(30);
        if packet % 7 == 0 {
            assert_eq!(window.topped_up(0_u32, Moment { at, ..BEGIN }), START);
        }
        window.received(0, 1 << 18, Moment { at, ..BEGIN });
    }
    window.received(0, usize::MAX, Moment { at, blocked: at, ..BEGIN });
    assert_eq!(pool.granted(), 0);
}

#[test]
fn a_fixed_window_is_fixed() {
    let pool = pool();
    let mut simulation = Simulation::new(1, START, &pool);
    assert!(simulation.window.is_fixed());
    simulation.run(Line::of(100.0, 1000.0), 5.0);
    assert_eq!((simulation.window.target, pool.granted()), (START, 0));
}

proptest::proptest! {
    #[test]
    fn whatever_happens_the_bounds_hold(
        events in proptest::collection::vec((0_u32..4, 0_u64..300_000, 0_u64..400_000, 0_u8..4), 1..400),
        budget in 0_u64..200,
    ) {
        let pool = Pool::new(budget << 20);
        let mut window = Window::new(START, MOST, &pool, NEVER);
        let mut now = BEGIN;
        let mut channels = std::collections::BTreeSet::new();
        for (channel, bytes, micros, what) in events {
            let passed = Duration::from_micros(micros);
            now.at += passed;
            now.blocked += passed / 2;
            match what {
                0 => {
                    window.closed(channel);
                    channels.remove(&channel);
                }
                1 => {
                    channels.insert(channel);
                    let target = window.topped_up(channel, now);
                    proptest::prop_assert!((START..=MOST).contains(&target));
                }
                _ => {
                    channels.insert(channel);
                    window.received(channel, usize::try_from(bytes).unwrap(), now);
                }
            }
            let beyond = channels.len() as u64 * u64::from(MOST - START);
            proptest::prop_assert!(pool.granted() <= beyond);
        }
        drop(window);
        proptest::prop_assert_eq!(pool.granted(), 0);
    }
}
