//! A believable "show tech" of a router that does not exist: the same bytes every time, a few MiB,
//! with the variety that such files have. Addresses, AS numbers and MACs are those set aside for
//! examples (RFC 5737, RFC 5398, RFC 7042).

use std::cell::Cell;
use std::fmt::Write;

/// The file's name, as such routers make them.
pub(crate) const NAME: &str = "show-tech_edge-ber-07_2026-03-14T0912Z.txt";

/// A line of it that stands in no other file of the machine: what is searched for on the disk.
pub(crate) const CANARY: &str = "Processor board ID FJL2643K0Q7";

const HOST: &str = "edge-ber-07";
const INTERFACES: u64 = 96;
const ROUTES: u64 = 24_000;
const LOG_LINES: u64 = 22_000;

/// The bundle's bytes.
pub(crate) fn bundle() -> Vec<u8> {
    let mut bundle = Bundle { text: String::with_capacity(5 << 20), dice: Dice(Cell::new(0x4711)) };
    bundle.version();
    bundle.inventory();
    bundle.configuration();
    bundle.interfaces();
    bundle.processes();
    bundle.peers();
    bundle.routes();
    bundle.log();
    bundle.text.into_bytes()
}

struct Bundle {
    text: String,
    dice: Dice,
}

impl Bundle {
    fn section(&mut self, command: &str) {
        line(&mut self.text, format_args!("\n------------------ {command} ------------------\n"));
    }

    fn version(&mut self) {
        self.section("show version");
        self.text.push_str(
            "Fjordline Network OS Software, Version 17.9.4b, RELEASE SOFTWARE (fc2)\n\
             Compiled Tue 11-Nov-25 04:12 by relmgr\n\n\
             ROM: FJL-ROMMON Version 17.6(3r)\n\n",
        );
        line(&mut self.text, format_args!("{HOST} uptime is 41 weeks, 2 days, 7 hours, 53 minutes"));
        line(&mut self.text, format_args!("Last reload reason: Critical process bgp_lsd fault on rp_0_0 (rc=134)"));
        line(&mut self.text, format_args!("System image file is \"bootflash:fjl8300-universalk9.17.09.04b.SPA.bin\""));
        line(&mut self.text, format_args!("\nfjordline FL-8300 (2RU) processor with 7733542K/6147K bytes of memory."));
        line(&mut self.text, format_args!("{CANARY}"));
        line(&mut self.text, format_args!("{INTERFACES} TenGigabitEthernet interfaces"));
        line(&mut self.text, format_args!("Configuration register is 0x2102"));
    }

    fn inventory(&mut self) {
        self.section("show inventory");
        for slot in 0..INTERFACES {
            let serial = self.dice.hex(8).to_uppercase();
            line(
                &mut self.text,
                format_args!(
                    "NAME: \"transceiver {}/{slot}\", DESCR: \"SFP+ 10GBASE-LR\"\n\
                 PID: FL-SFP-10G-LR     , VID: V03  , SN: FNS{serial}\n",
                    slot / 24
                ),
            );
        }
    }

    fn configuration(&mut self) {
        self.section("show running-config");
        line(&mut self.text, format_args!("hostname {HOST}\n!\nvrf definition customers\n rd 64500:100\n!"));
        for port in 0..INTERFACES {
            let description = self.dice.one_of(&["uplink", "customer", "peering", "spare", "backbone", "lab"]);
            let circuit = self.dice.below(90_000) + 10_000;
            line(
                &mut self.text,
                format_args!(
                    "interface TenGigabitEthernet0/{}/{}\n description {description} circuit DE-{circuit}\n \
                 ip address 198.51.100.{} 255.255.255.254\n mtu 9192\n load-interval 30\n!",
                    port / 24,
                    port % 24,
                    port * 2
                ),
            );
        }
        line(&mut self.text, format_args!("router bgp 64500\n bgp log-neighbor-changes\n timers bgp 10 30"));
        for peer in 1..=40 {
            let secret = self.dice.hex(18).to_uppercase();
            line(
                &mut self.text,
                format_args!(
                    " neighbor 203.0.113.{peer} remote-as {}\n neighbor 203.0.113.{peer} password 7 {secret}",
                    64496 + peer % 15
                ),
            );
        }
    }

    fn interfaces(&mut self) {
        self.section("show interfaces");
        for port in 0..INTERFACES {
            let up = self.dice.below(9) > 0;
            let state = if up { "up" } else { "down" };
            let (packets, errors) = (self.dice.below(1 << 44), if up { self.dice.below(40) } else { 0 });
            let (bytes, rate) = (packets * (300 + self.dice.below(800)), self.dice.below(9_400_000_000));
            line(
                &mut self.text,
                format_args!(
                    "TenGigabitEthernet0/{}/{} is {state}, line protocol is {state}\n  \
                 Hardware is FL-8300-24T, address is 0000.5e00.53{port:02x} (bia 0000.5e00.53{port:02x})\n  \
                 MTU 9192 bytes, BW 10000000 Kbit/sec, DLY 10 usec,\n     \
                 reliability 255/255, txload {}/255, rxload {}/255\n  \
                 30 second input rate {rate} bits/sec, {} packets/sec\n     \
                 {packets} packets input, {bytes} bytes, 0 no buffer\n     \
                 {errors} input errors, {errors} CRC, 0 frame, 0 overrun, 0 ignored\n     \
                 {} packets output, {} bytes, 0 underruns\n     0 output errors, {} interface resets",
                    port / 24,
                    port % 24,
                    self.dice.below(256),
                    rate / 39_215_687,
                    rate / 6400,
                    self.dice.below(1 << 44),
                    self.dice.below(1 << 54),
                    self.dice.below(7),
                ),
            );
        }
    }

    fn processes(&mut self) {
        self.section("show processes cpu sorted");
        line(
            &mut self.text,
            format_args!("CPU utilization for five seconds: 97%/3%; one minute: 91%; five minutes: 64%"),
        );
        line(&mut self.text, format_args!(" PID Runtime(ms)     Invoked      uSecs   5Sec   1Min   5Min TTY Process"));
        for pid in 1..700 {
            let runtime = self.dice.below(1 << 30);
            let invoked = self.dice.below(1 << 26) + 1;
            let name =
                self.dice.one_of(&["BGP Router", "IP Input", "BFD Sessions", "SNMP Engine", "LLDP", "ARP Input"]);
            line(
                &mut self.text,
                format_args!(
                    "{pid:4} {runtime:11} {invoked:11} {:10}  0.{:02}%  0.{:02}%  0.{:02}%   0 {name}",
                    runtime * 1000 / invoked,
                    self.dice.below(100),
                    self.dice.below(100),
                    self.dice.below(100)
                ),
            );
        }
    }

    fn peers(&mut self) {
        self.section("show ip bgp summary");
        line(&mut self.text, format_args!("BGP router identifier 192.0.2.7, local AS number 64500"));
        line(
            &mut self.text,
            format_args!("Neighbor        V           AS MsgRcvd MsgSent   TblVer  InQ OutQ Up/Down  State/PfxRcd"),
        );
        for peer in 1..=40u64 {
            let prefixes = self.dice.below(900_000);
            line(
                &mut self.text,
                format_args!(
                    "203.0.113.{peer:<5} 4        {} {:7} {:7} {:8}    0    0 {:02}:{:02}:{:02} {prefixes}",
                    64496 + peer % 15,
                    self.dice.below(9_999_999),
                    self.dice.below(9_999_999),
                    self.dice.below(99_999_999),
                    self.dice.below(24),
                    self.dice.below(60),
                    self.dice.below(60),
                ),
            );
        }
    }

    fn routes(&mut self) {
        self.section("show ip route");
        line(&mut self.text, format_args!("Gateway of last resort is 203.0.113.1 to network 0.0.0.0\n"));
        for _ in 0..ROUTES {
            let (a, b, c) = (self.dice.below(16), self.dice.below(256), self.dice.below(256));
            let code = self.dice.one_of(&["B   ", "B   ", "B   ", "O E2", "O IA", "S   "]);
            let (length, metric) = (16 + self.dice.below(9), self.dice.below(500));
            let (peer, days) = (self.dice.below(40) + 1, self.dice.below(300));
            line(
                &mut self.text,
                format_args!(
                    "{code}     10.{}.{c}.0/{length} [20/{metric}] via 203.0.113.{peer}, {days}d{:02}h",
                    a * 16 + b % 16,
                    self.dice.below(24)
                ),
            );
        }
    }

    fn log(&mut self) {
        self.section("show logging");
        line(&mut self.text, format_args!("Syslog logging: enabled (0 messages dropped, 12 messages rate-limited)"));
        let mut milliseconds = 0;
        for number in 0..LOG_LINES {
            milliseconds += self.dice.below(7_000);
            let (seconds, fraction) = (milliseconds / 1000, milliseconds % 1000);
            let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
            let port = self.dice.below(INTERFACES);
            let interface = format!("TenGigabitEthernet0/{}/{}", port / 24, port % 24);
            let peer = self.dice.below(40) + 1;
            let text = match self.dice.below(8) {
                0 => format!("%LINEPROTO-5-UPDOWN: Line protocol on Interface {interface}, changed state to down"),
                1 => format!("%LINEPROTO-5-UPDOWN: Line protocol on Interface {interface}, changed state to up"),
                2 => format!("%BGP-5-ADJCHANGE: neighbor 203.0.113.{peer} Down BGP Notification sent"),
                3 => format!("%BGP-3-NOTIFICATION: sent to neighbor 203.0.113.{peer} 4/0 (hold time expired) 0 bytes"),
                4 => format!(
                    "%PLATFORM-4-ELEMENT_WARNING: R0/0: smand: 1/RP/0: Used Memory value {}% exceeds warning level 88%",
                    88 + self.dice.below(11)
                ),
                5 => format!(
                    "%SFF8472-3-THRESHOLD_VIOLATION: {interface}: Rx power low alarm; Operating value: -{}.{} dBm",
                    14 + self.dice.below(9),
                    self.dice.below(10)
                ),
                6 => format!(
                    "%SYS-2-MALLOCFAIL: Memory allocation of {} bytes failed from 0x{}, alignment 32",
                    self.dice.below(1 << 20),
                    self.dice.hex(8)
                ),
                _ => format!(
                    "%SEC_LOGIN-5-LOGIN_SUCCESS: Login Success [user: noc] [Source: 192.0.2.{}] [localport: 22]",
                    self.dice.below(254) + 1
                ),
            };
            line(&mut self.text, format_args!("{number:06}: Mar 13 {h:02}:{m:02}:{s:02}.{fraction:03} CET: {text}"));
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(line);
    text.push('\n');
}

/// Numbers that look random and never change (SplitMix64).
struct Dice(Cell<u64>);

impl Dice {
    fn roll(&self) -> u64 {
        let mut z = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&self, bound: u64) -> u64 {
        self.roll() % bound.max(1)
    }

    fn one_of<'a>(&self, choices: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(choices.len() as u64)).unwrap_or(0);
        choices.get(index).copied().unwrap_or_default()
    }

    /// `digits` hexadecimal digits; a multiple of two.
    fn hex(&self, digits: usize) -> String {
        let mut text = String::with_capacity(digits);
        while text.len() < digits {
            let _ = write!(text, "{:02x}", self.below(256));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_bundle_is_the_same_every_time_and_looks_like_one() {
        let bytes = bundle();
        assert!(Sha256::digest(&bytes) == Sha256::digest(bundle()));
        assert!((3 << 20..8 << 20).contains(&bytes.len()), "{} bytes", bytes.len());
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with("\n------------------ show version ------------------\n"));
        assert_eq!(text.matches("\n------------------ show ").count(), 8);
        assert_eq!(text.matches(CANARY).count(), 1);
        assert!(text.lines().all(|line| line.len() < 200));
    }
}
