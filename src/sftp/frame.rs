//! Bytes off the wire -> requests of SFTP version 3 (draft-ietf-secsh-filexfer-02). Only `session`
//! feeds it.
//!
//! The parser takes slices of any size. What a WRITE carries is never collected: it goes through as
//! slices of the input that it came in. Every other packet is collected (there is a bound), and
//! then parsed strictly: paths stay bytes, nothing may be missing and nothing may be left over. A
//! malformed packet is told with the id that it carried, so that its sender gets an answer; an
//! over-long one ends the stream, and nothing behind it is ever looked at.

use russh_sftp::protocol::{FileAttr, OpenFlags};

use super::handles::Handle;
use crate::access::Changes;
use crate::model::Time;

/// The longest packet that is accepted, in bytes behind the length field (OpenSSH's own bound plus
/// a header's room).
pub const MAX_PACKET: u32 = 256 * 1024 + 1024;
/// The longest handle string (draft, section 3: at most 256 bytes).
const MAX_HANDLE: usize = 256;
/// The longest list of digests' names; all that the draft knows fit into a twentieth of it.
const MAX_ALGORITHMS: usize = 1024;
/// A collecting buffer that grew beyond this is given back after its packet.
const KEPT_BUFFER: usize = 16 * 1024;

const FXP_INIT: u8 = 1;
const FXP_WRITE: u8 = 6;

/// What the bytes said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// The client's hello and the version that it asks for.
    Init { version: u32 },
    /// A whole request.
    Request { id: u32, request: Request },
    /// The head of a WRITE; [`Event::WriteData`] follows, `length` bytes in all, and then
    /// [`Event::WriteEnd`].
    WriteBegin { id: u32, handle: Handle, offset: u64, length: u32 },
    /// Payload, borrowed from the input.
    WriteData(&'a [u8]),
    /// The WRITE is complete.
    WriteEnd,
    /// A packet type that version 3 does not know.
    Unknown { id: u32 },
    /// A packet that breaks the rules; without an id if it was too short to have one.
    Malformed { id: Option<u32> },
}

/// A request other than INIT and WRITE. Paths are the client's bytes, unchecked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Open {
        path: Vec<u8>,
        flags: Flags,
        wanted: Wanted,
    },
    Close {
        handle: Handle,
    },
    Read {
        handle: Handle,
        offset: u64,
        length: u32,
    },
    Lstat {
        path: Vec<u8>,
    },
    Stat {
        path: Vec<u8>,
    },
    Fstat {
        handle: Handle,
    },
    SetStat {
        path: Vec<u8>,
        wanted: Wanted,
    },
    FsetStat {
        handle: Handle,
        wanted: Wanted,
    },
    OpenDir {
        path: Vec<u8>,
    },
    ReadDir {
        handle: Handle,
    },
    Remove {
        path: Vec<u8>,
    },
    MakeDir {
        path: Vec<u8>,
    },
    RemoveDir {
        path: Vec<u8>,
    },
    RealPath {
        path: Vec<u8>,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    /// READLINK, SYMLINK and hardlink@openssh.com, which tacdrop refuses whatever they say.
    Links,
    /// limits@openssh.com
    Limits,
    /// fsync@openssh.com
    Fsync {
        handle: Handle,
    },
    /// posix-rename@openssh.com
    PosixRename {
        from: Vec<u8>,
        to: Vec<u8>,
    },
    /// statvfs@openssh.com
    StatVfs {
        path: Vec<u8>,
    },
    /// fstatvfs@openssh.com
    FstatVfs {
        handle: Handle,
    },
    /// home-directory (draft-ietf-secsh-filexfer-extensions-00, section 5)
    HomeDirectory,
    /// check-file-name, check-file-handle (draft-ietf-secsh-filexfer-extensions-00, section 3), or
    /// paramiko's check-file.
    CheckFile(CheckFile),
    /// An extension that is not offered here.
    OtherExtension,
}

/// What a client wants the digest of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CheckFile {
    pub(crate) of: CheckedFile,
    /// Names of digests between commas, the one that the client likes best first. At most
    /// [`MAX_ALGORITHMS`] bytes.
    pub(crate) algorithms: Vec<u8>,
    /// The first byte.
    pub(crate) start: u64,
    /// How many bytes; 0: up to the end.
    pub(crate) length: u64,
    /// Bytes for each digest; 0: one digest for all.
    pub(crate) block: u32,
    /// paramiko asks for `check-file` and reads a reply that begins with this name; the draft's
    /// begins with the algorithm.
    pub(crate) echoes: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CheckedFile {
    Path(Vec<u8>),
    Handle(Handle),
}

/// The open flags of draft section 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) create: bool,
    pub(crate) truncate: bool,
    pub(crate) exclusive: bool,
}

/// What ATTRS asks for (draft, section 5), as far as it can be had.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) size: Option<u64>,
    /// Permission bits, without the file's type.
    pub(crate) mode: Option<u32>,
    pub(crate) modified: Option<Time>,
}

impl Wanted {
    /// None if nothing is asked for, or only what is ignored (owner, group, access time).
    pub(crate) fn changes(self) -> Option<Changes> {
        let Self { size, mode, modified } = self;
        (self != Self::default()).then_some(Changes { size, mode, modified })
    }
}

/// A packet longer than [`MAX_PACKET`], or one without even a type: the stream cannot be trusted
/// any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength;

/// The incremental parser of one channel.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    state: State,
    /// The packet that is being collected, from its length field on.
    packet: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Collect,
    /// In a WRITE's payload, this many bytes before its end; `behind` bytes of the packet follow
    /// it.
    Payload { left: u32, behind: u32 },
    /// This many bytes before the end of a packet of which nothing more is wanted.
    Skip(u32),
    /// Nothing is parsed any more.
    Dead,
}

/// What the collected bytes ask for next.
enum Step {
    /// The packet's head or the packet is complete with this many bytes.
    Until(usize),
    Packet,
    WriteHead {
        id: u32,
        handle: Handle,
        offset: u64,
        length: u32,
        /// Bytes of the packet behind the payload: rclone's library sends its whole buffer with a
        /// shorter last WRITE, and sshd takes no notice of them.
        behind: u32,
    },
    MalformedWrite {
        id: u32,
        rest: u32,
    },
    BadLength,
}

impl Parser {
    /// Takes from `input` what makes the next event; `None` when the input is used up.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, BadLength> {
        loop {
            match self.state {
                State::Payload { left: 0, behind } => {
                    self.state = State::Skip(behind);
                    return Ok(Some(Event::WriteEnd));
                }
                State::Payload { left, behind } => {
                    let slice = take(input, left);
                    self.state = State::Payload { left: left.saturating_sub(slice.len() as u32), behind };
                    return Ok((!slice.is_empty()).then_some(Event::WriteData(slice)));
                }
                State::Skip(0) => self.state = State::Collect,
                State::Skip(left) => {
                    let skipped = take(input, left);
                    self.state = State::Skip(left.saturating_sub(skipped.len() as u32));
                    if skipped.is_empty() {
                        return Ok(None);
                    }
                }
                State::Dead => return Err(BadLength),
                State::Collect => match self.step() {
                    Step::Until(size) => {
                        let missing = size.saturating_sub(self.packet.len());
                        let part = take(input, u32::try_from(missing).unwrap_or(u32::MAX));
                        self.packet.extend_from_slice(part);
                        if part.len() < missing {
                            return Ok(None);
                        }
                    }
                    Step::Packet => {
                        let event = parse(self.packet.get(4..).unwrap_or_default());
                        self.forget_packet();
                        return Ok(Some(event));
                    }
                    Step::WriteHead { id, handle, offset, length, behind } => {
                        self.forget_packet();
                        self.state = State::Payload { left: length, behind };
                        return Ok(Some(Event::WriteBegin { id, handle, offset, length }));
                    }
                    Step::MalformedWrite { id, rest } => {
                        self.forget_packet();
                        self.state = State::Skip(rest);
                        return Ok(Some(Event::Malformed { id: Some(id) }));
                    }
                    Step::BadLength => {
                        self.packet = Vec::new();
                        self.state = State::Dead;
                    }
                },
            }
        }
    }

    fn forget_packet(&mut self) {
        self.packet.clear();
        self.packet.shrink_to(KEPT_BUFFER);
    }

    /// Looks at what is collected. Each answer but `Until` is final for this packet, and `Until`
    /// always asks for more than there is.
    fn step(&self) -> Step {
        let mut head = Reader(&self.packet);
        let Some(length) = head.u32() else { return Step::Until(4) };
        if length == 0 || length > MAX_PACKET {
            return Step::BadLength;
        }
        let whole = 4 + length as usize;
        let Some(kind) = head.u8() else { return Step::Until(5) };
        // A WRITE too short for its own head is left to the strict parser, which refuses it.
        if kind != FXP_WRITE || length < 1 + 4 + 4 + 8 + 4 {
            return if self.packet.len() < whole { Step::Until(whole) } else { Step::Packet };
        }
        let (Some(id), Some(handle_length)) = (head.u32(), head.u32()) else { return Step::Until(13) };
        let handle_length = handle_length as usize;
        let head_size = 13usize.saturating_add(handle_length).saturating_add(12);
        let malformed = Step::MalformedWrite { id, rest: (whole - self.packet.len().min(whole)) as u32 };
        if handle_length > MAX_HANDLE || head_size > whole {
            return malformed;
        }
        if self.packet.len() < head_size {
            return Step::Until(head_size);
        }
        match (head.bytes(handle_length), head.u64(), head.u32()) {
            (Some(handle), Some(offset), Some(length)) => match (whole - head_size).checked_sub(length as usize) {
                Some(behind) => {
                    let behind = behind as u32;
                    Step::WriteHead { id, handle: Handle::from_wire(handle), offset, length, behind }
                }
                None => malformed,
            },
            _ => malformed,
        }
    }
}

/// Splits off the first `most` bytes of the input, or all there are.
fn take<'a>(input: &mut &'a [u8], most: u32) -> &'a [u8] {
    let (taken, rest) = input.split_at_checked(most as usize).unwrap_or((input, &[]));
    *input = rest;
    taken
}

/// A whole packet, from its type byte on.
fn parse(packet: &[u8]) -> Event<'static> {
    let mut body = Reader(packet);
    let Some(kind) = body.u8() else { return Event::Malformed { id: None } };
    if kind == FXP_INIT {
        // What follows the version are the client's extension pairs, none of which changes anything
        // here.
        return body.u32().map_or(Event::Malformed { id: None }, |version| Event::Init { version });
    }
    let Some(id) = body.u32() else { return Event::Malformed { id: None } };
    match request(kind, &mut body) {
        Ok(Some(request)) => Event::Request { id, request },
        Ok(None) => Event::Malformed { id: Some(id) },
        Err(UnknownType) => Event::Unknown { id },
    }
}

struct UnknownType;

/// `None` if the body does not fit the type.
fn request(kind: u8, body: &mut Reader<'_>) -> Result<Option<Request>, UnknownType> {
    let parsed = match kind {
        3 => body.open(),
        4 => body.handle().map(|handle| Request::Close { handle }),
        5 => body.read(),
        // A WRITE that got here was too short for its head.
        FXP_WRITE => None,
        7 => body.path().map(|path| Request::Lstat { path }),
        8 => body.handle().map(|handle| Request::Fstat { handle }),
        9 => body.path().zip(body.wanted()).map(|(path, wanted)| Request::SetStat { path, wanted }),
        10 => body.handle().zip(body.wanted()).map(|(handle, wanted)| Request::FsetStat { handle, wanted }),
        11 => body.path().map(|path| Request::OpenDir { path }),
        12 => body.handle().map(|handle| Request::ReadDir { handle }),
        13 => body.path().map(|path| Request::Remove { path }),
        14 => body.path().zip(body.wanted()).map(|(path, _)| Request::MakeDir { path }),
        15 => body.path().map(|path| Request::RemoveDir { path }),
        16 => body.path().map(|path| Request::RealPath { path }),
        17 => body.path().map(|path| Request::Stat { path }),
        18 => body.path().zip(body.path()).map(|(from, to)| Request::Rename { from, to }),
        19 => body.path().map(|_| Request::Links),
        20 => body.path().zip(body.path()).map(|_| Request::Links),
        200 => body.extended(),
        _ => return Err(UnknownType),
    };
    Ok(parsed.filter(|_| body.0.is_empty()))
}

/// Reads the draft's data types; `None` when the bytes run out.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.bytes(length as usize)
    }

    fn path(&mut self) -> Option<Vec<u8>> {
        self.string().map(<[u8]>::to_vec)
    }

    fn handle(&mut self) -> Option<Handle> {
        self.string().filter(|text| text.len() <= MAX_HANDLE).map(Handle::from_wire)
    }

    fn open(&mut self) -> Option<Request> {
        let path = self.path()?;
        let flags = OpenFlags::from_bits_truncate(self.u32()?);
        let flags = Flags {
            read: flags.contains(OpenFlags::READ),
            write: flags.intersects(OpenFlags::WRITE | OpenFlags::APPEND),
            append: flags.contains(OpenFlags::APPEND),
            create: flags.contains(OpenFlags::CREATE),
            truncate: flags.contains(OpenFlags::TRUNCATE),
            exclusive: flags.contains(OpenFlags::EXCLUDE),
        };
        Some(Request::Open { path, flags, wanted: self.wanted()? })
    }

    fn read(&mut self) -> Option<Request> {
        Some(Request::Read { handle: self.handle()?, offset: self.u64()?, length: self.u32()? })
    }

    /// ATTRS (draft, section 5). Owner, group, access time and extensions are read and let go.
    fn wanted(&mut self) -> Option<Wanted> {
        let present = FileAttr::from_bits_truncate(self.u32()?);
        let mut wanted = Wanted::default();
        if present.contains(FileAttr::SIZE) {
            wanted.size = Some(self.u64()?);
        }
        if present.contains(FileAttr::UIDGID) {
            self.u64()?;
        }
        if present.contains(FileAttr::PERMISSIONS) {
            // The bits above are the file's type, which nobody can set.
            wanted.mode = Some(self.u32()? & 0o7777);
        }
        if present.contains(FileAttr::ACMODTIME) {
            self.u32()?;
            wanted.modified = Some(Time::from_seconds(i64::from(self.u32()?)));
        }
        if present.contains(FileAttr::EXTENDED) {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Some(wanted)
    }

    fn check(&mut self, of: CheckedFile, echoes: bool) -> Option<Request> {
        let algorithms = self.string().filter(|list| list.len() <= MAX_ALGORITHMS)?.to_vec();
        let (start, length, block) = (self.u64()?, self.u64()?, self.u32()?);
        Some(Request::CheckFile(CheckFile { of, algorithms, start, length, block, echoes }))
    }

    fn extended(&mut self) -> Option<Request> {
        match self.string()? {
            b"limits@openssh.com" => Some(Request::Limits),
            b"fsync@openssh.com" => self.handle().map(|handle| Request::Fsync { handle }),
            b"posix-rename@openssh.com" => {
                self.path().zip(self.path()).map(|(from, to)| Request::PosixRename { from, to })
            }
            b"statvfs@openssh.com" => self.path().map(|path| Request::StatVfs { path }),
            b"fstatvfs@openssh.com" => self.handle().map(|handle| Request::FstatVfs { handle }),
            b"check-file-name" => self.path().and_then(|path| self.check(CheckedFile::Path(path), false)),
            b"check-file-handle" => self.handle().and_then(|handle| self.check(CheckedFile::Handle(handle), false)),
            b"check-file" => self.handle().and_then(|handle| self.check(CheckedFile::Handle(handle), true)),
            b"hardlink@openssh.com" => self.path().zip(self.path()).map(|_| Request::Links),
            b"home-directory" => self.string().map(|_| Request::HomeDirectory),
            _ => {
                self.0 = &[];
                Some(Request::OtherExtension)
            }
        }
    }
}

/// Parses a stream that comes in pieces of at most `piece` bytes, and says how many events and how
/// many bytes of payload there were.
#[cfg(feature = "bench")]
pub fn bench_parse(stream: &[u8], piece: usize) -> (u64, u64) {
    let (mut parser, mut events, mut payload) = (Parser::default(), 0, 0);
    for mut input in stream.chunks(piece) {
        while let Ok(Some(event)) = parser.next(&mut input) {
            events += 1;
            if let Event::WriteData(bytes) = event {
                payload += bytes.len() as u64;
            }
        }
    }
    (events, payload)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
