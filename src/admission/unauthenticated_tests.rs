use proptest::prelude::*;

use super::*;

const MOST: usize = 16;
const PER_SOURCE: usize = 8;

/// Somebody's address: the host in a network.
fn ip(network: u8, host: u8) -> IpAddr {
    std::net::Ipv4Addr::new(10, 0, network, host).into()
}

fn slots() -> Slots {
    Slots::new(MOST, PER_SOURCE)
}

/// Fills every slot from some networks, each at a stage since some seconds.
fn full(networks: u8, stage: Stage, start: Instant) -> Slots {
    let mut slots = slots();
    for n in 0..u8::try_from(MOST).unwrap() {
        // Chance is on its side.
        let given = slots.take(ip(n % networks, n), start, u32::MAX).unwrap();
        slots.step(given.slot, stage, start);
    }
    slots
}

const STAGES: [Stage; 4] = [Stage::Silent, Stage::Named, Stage::Answering, Stage::Asking];

#[test]
fn r33_sources_and_networks() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    assert_eq!(source_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
    assert_ne!(source_of(ip("2001:db8:1:3::")), source_of(ip("2001:db8:1:2::")));
    assert_eq!(source_of(ip("::ffff:10.1.2.3")), ip("10.1.2.3"));
    assert_eq!(network_of(ip("2001:db8:1:2ff:3:4:5:6")), ip("2001:db8:1:200::"));
    assert_ne!(network_of(ip("2001:db8:1:300::")), network_of(ip("2001:db8:1:200::")));
    assert_eq!(network_of(ip("::ffff:10.1.2.3")), ip("10.1.2.0"));
}

#[test]
fn r33_a_network_that_holds_nothing_gets_in_whatever_few_networks_do() {
    let start = Instant::now();
    for networks in 1..u8::try_from(MOST).unwrap() {
        for stage in STAGES {
            let mut slots = full(networks, stage, start);
            let given = slots.take(ip(200, 1), start, 0).unwrap();
            assert!(given.instead_of.is_some(), "{networks} {stage:?}");
            assert_eq!(slots.held.len(), MOST);
        }
    }
}

#[test]
fn r33_with_a_network_for_each_place_it_gets_in_unless_all_of_them_are_about_to_log_in() {
    let start = Instant::now();
    for stage in STAGES {
        let networks = u8::try_from(MOST).unwrap();
        let mut slots = full(networks, stage, start);
        let at_once = slots.take(ip(200, 1), start, 0);
        assert_eq!(at_once.is_ok(), stage == Stage::Silent, "{stage:?}");
        let mut slots = full(networks, stage, start);
        assert!(slots.take(ip(200, 1), start + stage.patience(), 0).is_ok(), "{stage:?}");
    }
}

#[test]
fn r33_who_talks_outlasts_who_says_nothing_even_in_a_larger_network() {
    let start = Instant::now();
    let mut slots = slots();
    let talking: Vec<Slot> = (0..7).map(|_| slots.take(ip(1, 1), start, u32::MAX).unwrap().slot).collect();
    talking.iter().for_each(|slot| slots.step(*slot, Stage::Asking, start));
    for n in 0..9 {
        slots.take(ip(100 + n, 1), start, u32::MAX).unwrap();
    }
    let later = start + Stage::Silent.patience();
    for n in 0..9 {
        let given = slots.take(ip(200 + n, 1), later, 0).unwrap();
        slots.step(given.slot, Stage::Named, later);
        assert!(given.instead_of.is_some_and(|slot| !talking.contains(&slot)), "{n}: {given:?}");
    }
    // Now nobody is silent, and the one network that holds more has to give.
    let given = slots.take(ip(220, 1), later, 0).unwrap();
    assert!(given.instead_of.is_some_and(|slot| talking.contains(&slot)));
}

#[test]
fn r33_a_flood_from_one_network_takes_nothing_from_others() {
    let start = Instant::now();
    let mut slots = slots();
    let honest: Vec<Slot> = (0..4)
        .map(|n| {
            let slot = slots.take(ip(n, 1), start, u32::MAX).unwrap().slot;
            slots.step(slot, Stage::Answering, start);
            slot
        })
        .collect();
    // For a minute, when the honest ones have long been overdue, with all the luck that there is.
    for n in 0..6_000u32 {
        let now = start + Duration::from_millis(u64::from(n) * 10);
        if let Ok(given) = slots.take(ip(250, n as u8), now, u32::MAX) {
            slots.step(given.slot, STAGES[n as usize % 4], now);
        }
    }
    assert!(honest.iter().all(|slot| slots.held.contains_key(slot)));
    assert_eq!(count(&slots.networks, network_of(ip(250, 0))), MOST - 4);
}

#[test]
fn r33_one_address_may_start_many_at_once_and_silent_ones_behind_it_lock_nobody_out() {
    let start = Instant::now();
    let mut slots = Slots::new(64, 32);
    for n in 0..32 {
        assert!(slots.take(ip(1, 1), start, 0).is_ok(), "{n}");
    }
    assert_eq!(slots.take(ip(1, 1), start, 0), Err(Rejected::SourceUnauthenticatedFull));
    let later = start + Stage::Silent.patience();
    assert_eq!(slots.take(ip(1, 1), later, 0).map(|given| given.instead_of), Ok(Some(0)));
    (1..33).for_each(|slot| slots.step(slot, Stage::Asking, later));
    assert_eq!(slots.take(ip(1, 1), later + Stage::Asking.patience(), 0), Err(Rejected::SourceUnauthenticatedFull));
}

#[test]
fn r33_chance_turns_away_the_more_of_a_network_the_more_it_holds() {
    let now = Instant::now();
    let in_100 = |slots: &Slots, network: u8| {
        (0..100u32).filter(|n| slots.is_dropped(network_of(ip(network, 0)), u32::MAX / 100 * n)).count()
    };
    let mut slots = slots();
    let mut seen = Vec::new();
    for n in 0..12 {
        slots.take(ip(1, n), now, u32::MAX).unwrap();
        seen.push(in_100(&slots, 1));
    }
    assert_eq!(seen[..8], [0; 8], "as long as half is free");
    assert_eq!(seen[8..], [13, 26, 38, 51]);
    slots.take(ip(2, 1), now, u32::MAX).unwrap();
    assert_eq!((in_100(&slots, 1), in_100(&slots, 2), in_100(&slots, 3)), (58, 5, 0));
}

/// What happens to the slots.
#[derive(Debug, Clone)]
enum Event {
    Come { network: u8, host: u8, dice: u32 },
    Step { which: usize, stage: usize },
    Go { which: usize },
    Wait { seconds: u64 },
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0u8..6, 0u8..2, any::<u32>()).prop_map(|(network, host, dice)| Event::Come { network, host, dice }),
        3 => (any::<usize>(), 0usize..4).prop_map(|(which, stage)| Event::Step { which, stage }),
        1 => any::<usize>().prop_map(|which| Event::Go { which }),
        1 => (0u64..20).prop_map(|seconds| Event::Wait { seconds }),
    ];
    proptest::collection::vec(event, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Beside a plain list of who is there.
    #[test]
    fn r33_r85_places_are_bounded_shared_and_given_back(events in events()) {
        let (mut slots, mut now) = (slots(), Instant::now());
        let mut there: Vec<(Slot, u8, u8)> = Vec::new();
        let of = |there: &[(Slot, u8, u8)], network: u8| there.iter().filter(|one| one.1 == network).count();
        for event in events {
            match event {
                Event::Come { network, host, dice } => {
                    let own = of(&there, network);
                    let source = there.iter().filter(|one| (one.1, one.2) == (network, host)).count();
                    let most = (0..6).map(|other| of(&there, other)).max().unwrap_or(0);
                    match slots.take(ip(network, host), now, dice) {
                        Ok(given) => {
                            if let Some(slot) = given.instead_of {
                                let at = there.iter().position(|one| one.0 == slot);
                                let (_, theirs, _) = there.remove(at.expect("only who is there is ended"));
                                // Nobody is ended while there is room, and never for a network that
                                // holds as much.
                                prop_assert!(there.len() + 1 == MOST || source == PER_SOURCE);
                                prop_assert!(theirs == network || of(&there, theirs) + 1 > own);
                            }
                            there.push((given.slot, network, host));
                        }
                        Err(Rejected::SourceUnauthenticatedFull) => prop_assert_eq!(source, PER_SOURCE),
                        Err(Rejected::UnauthenticatedFull) => {
                            prop_assert!(there.len() >= MOST / 2);
                            // Who holds nothing is rejected by nobody who holds two.
                            prop_assert!(own > 0 || most < 2);
                            prop_assert!(there.len() < MOST || most <= own + 1);
                        }
                        Err(other) => prop_assert!(false, "{other:?}"),
                    }
                }
                Event::Step { which, stage } if !there.is_empty() => {
                    slots.step(there[which % there.len()].0, STAGES[stage], now);
                }
                Event::Go { which } if !there.is_empty() => {
                    let (slot, ..) = there.remove(which % there.len());
                    slots.free(slot);
                    slots.free(slot);
                }
                Event::Wait { seconds } => now += Duration::from_secs(seconds),
                Event::Step { .. } | Event::Go { .. } => {}
            }
            prop_assert!(slots.held.len() <= MOST);
            prop_assert!(slots.sources.values().all(|count| (1..=PER_SOURCE).contains(count)));
            let mut held: Vec<Slot> = slots.held.keys().copied().collect();
            let mut expected: Vec<Slot> = there.iter().map(|one| one.0).collect();
            held.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(held, expected);
            prop_assert_eq!(slots.networks.values().sum::<usize>(), there.len());
            prop_assert_eq!(slots.sources.values().sum::<usize>(), there.len());
        }
        there.iter().for_each(|one| slots.free(one.0));
        prop_assert!(slots.held.is_empty() && slots.sources.is_empty() && slots.networks.is_empty());
    }
}
