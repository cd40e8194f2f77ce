//! One connection as russh drives it: its logins, its channels, and the SFTP or SCP session on each
//! of them.
//!
//! These callbacks run inside russh's session task, which reads the socket as well. None of them
//! waits for the client or for that task itself (`Handle` is only used from spawned tasks); they
//! may wait for the share.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use russh::client::GexParams;
use russh::kex::dh::groups::DhGroup;
use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig};
use tokio_util::task::AbortOnDropHandle;

use super::activity::Activity;
use super::connection::DoorContext;
use super::exec::{self, Answer, Command};
use super::login::Attempts;
use super::remarks::Remarks;
use super::shared::ConnectionShared;
use super::traffic::{Counted, Traffic};
use super::window::Window;
use super::{Limits, Words, algorithms};
use crate::access::{Access, Closed, ReplySink, ShareSession};
use crate::admission::Admission;
use crate::model::{Language, Refusal};
use crate::scp;
use crate::sftp;

/// The data type of stderr (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// The handler of one connection.
pub(crate) struct ConnectionHandler {
    attempts: Attempts,
    access: Arc<Access>,
    common: sftp::Common,
    limits: Limits,
    words: Words,
    shared: Arc<ConnectionShared>,
    channels: HashMap<ChannelId, ChannelState>,
    /// Channels opened in the life of the connection.
    opened: usize,
    window: Window<ChannelId>,
    traffic: Traffic,
    /// When the client was told what it had to wait for, if it has not gone on since.
    replied_at: Option<Instant>,
    /// Counts the connection among those that have logged in.
    counted: Option<Counted>,
}

/// What a channel is used for.
enum ChannelState {
    Nothing,
    Sftp {
        session: Box<sftp::Session<Out>>,
        remarks: Arc<Remarks>,
        /// Bytes of small replies since the client's window was last seen open.
        backlog: usize,
    },
    Scp {
        session: Box<scp::Session<Out>>,
        /// The same.
        backlog: usize,
    },
    /// A task sends what is left, then closes the channel: the client has ended its side, or a
    /// command runs that reads nothing.
    Finishing(AbortOnDropHandle<()>),
}

/// Why a session on a channel cannot go on.
#[derive(Debug, thiserror::Error)]
enum ChannelError {
    #[error("SFTP: {0}")]
    Sftp(sftp::Fatal),
    #[error("SCP: {0}")]
    Scp(scp::Fatal),
}

impl ConnectionHandler {
    pub(crate) fn new(context: &DoorContext, shared: Arc<ConnectionShared>, admission: Arc<Admission>) -> Self {
        let DoorContext { access, common, limits, words, .. } = context;
        Self {
            attempts: Attempts::new(Arc::clone(&shared), admission, context),
            access: access.clone(),
            common: common.clone(),
            limits: *limits,
            words: words.clone(),
            shared,
            channels: HashMap::new(),
            opened: 0,
            window: Window::new(limits.window, limits.window_most, &context.windows, limits.rekey()),
            traffic: context.traffic.clone(),
            replied_at: None,
            counted: None,
        }
    }

    /// The client does what it could not do before it was told to go on: one trip at least has
    /// passed since then.
    fn goes_on(&mut self) {
        if let Some(replied_at) = self.replied_at.take() {
            self.window.answered(replied_at.elapsed());
        }
    }

    /// Notes whether the client leaves data waiting.
    fn look_at_windows(&mut self, session: &Session) {
        let mut shut = false;
        for (channel, used) in &mut self.channels {
            let pending = session.has_pending_data(*channel);
            shut |= pending;
            if let ChannelState::Sftp { backlog, .. } | ChannelState::Scp { backlog, .. } = used
                && !pending
            {
                *backlog = 0;
            }
        }
        self.shared.activity.window_is_shut(shut);
        if !self.window.is_fixed() {
            self.window.holds_back(shut, self.shared.activity.moment().at);
        }
    }

    /// The command has the channel to itself until one side ends it.
    async fn begin_scp(
        &mut self,
        channel: ChannelId,
        share: ShareSession,
        request: scp::Request,
        out: Out,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let common =
            scp::Common { read_budget: Arc::clone(&self.common.read_budget), uploads: self.common.uploads.clone() };
        let mut hello = Vec::new();
        let begun = scp::Session::begin(share, &common, request, out, &mut hello).await;
        let backlog = hello.len();
        if !hello.is_empty() {
            session.data(channel, Bytes::from(hello))?;
        }
        match begun {
            Ok(scp) => {
                self.channels.insert(channel, ChannelState::Scp { session: Box::new(scp), backlog });
                Ok(())
            }
            Err(fatal) => self.end_channel(channel, ChannelError::Scp(fatal), session),
        }
    }

    /// Closes the channel of a session that cannot go on.
    fn end_channel(
        &mut self,
        channel: ChannelId,
        over: ChannelError,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        tracing::info!(from = %self.shared.from, %over, "session ended");
        self.channels.remove(&channel);
        self.window.closed(channel);
        if session.has_pending_data(channel) {
            // It would hear of the end behind all that it does not take, and could go on sending
            // until then.
            return self.disconnect(session, Disconnect::ByApplication, "Too many replies were left unread.");
        }
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)
    }

    /// Ends the connection from inside one of russh's callbacks, whatever waits to be sent.
    fn disconnect(&self, session: &mut Session, reason: Disconnect, sentence: &str) -> Result<(), russh::Error> {
        self.shared.end_soon();
        session.disconnect(reason, sentence, "en")
    }
}

impl Handler for ConnectionHandler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        self.attempts.began();
        Ok(self.words.banner.as_deref().map(str::to_owned))
    }

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, russh::Error> {
        Ok(self.attempts.rejection())
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, russh::Error> {
        Ok(self.attempts.password(user, password).await)
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(self.attempts.offered(user, offer).await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.attempts.verified(user, key).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        _user: &str,
        _certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        Ok(self.attempts.refused())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        _response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        Ok(self.attempts.refused())
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), russh::Error> {
        let Some(login) = self.shared.login.get() else { return Err(russh::Error::NotAuthenticated) };
        self.shared.log_opened();
        tracing::info!(from = %self.shared.from, user = %login.user(), transport = %self.shared.transport, "logged in");
        self.attempts.succeeded();
        self.counted = Some(self.traffic.login());
        self.replied_at = Some(Instant::now());
        self.shared.activity.touch();
        self.shared.logged_in.cancel();
        Ok(())
    }

    async fn lookup_dh_gex_group(&mut self, wanted: &GexParams) -> Result<Option<DhGroup>, russh::Error> {
        Ok(algorithms::group_for(wanted))
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.goes_on();
        self.channels.retain(|_, used| !matches!(used, ChannelState::Finishing(task) if task.is_finished()));
        // The second bound is for russh, which keeps something of each channel that this side
        // closed.
        if self.channels.len() >= self.limits.channels || self.opened >= self.limits.channels_in_all {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        self.opened += 1;
        self.channels.insert(channel.id(), ChannelState::Nothing);
        // With nobody on its other side russh queues nothing in it: all data comes through `data`.
        drop(channel);
        reply.accept().await;
        // Before it knows the channel's number it can do nothing with it.
        self.replied_at = (self.opened == 1).then(Instant::now);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.goes_on();
        let (Some(used @ ChannelState::Nothing), "sftp", Some(login)) =
            (self.channels.get_mut(&channel), name, self.shared.login.get())
        else {
            return session.channel_failure(channel);
        };
        let heard = self.words.remarks && self.shared.activity.client().shows_stderr();
        let words = login.clone();
        let remarks = Arc::new(Remarks::new(move |refusal| words.sentence(refusal), heard));
        let out = Out { remarks: Arc::clone(&remarks), ..Out::new(session, channel, &self.shared) };
        let sftp = sftp::Session::new(self.access.session(login), &self.common, out);
        *used = ChannelState::Sftp { session: Box::new(sftp), remarks, backlog: 0 };
        self.shared.activity.touch();
        session.channel_success(channel)?;
        match login.greeting().filter(|_| heard) {
            Some(greeting) => session.extended_data(channel, STDERR, Bytes::from(format!("{greeting}\n"))),
            None => Ok(()),
        }
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        let Some(used @ (ChannelState::Sftp { .. } | ChannelState::Scp { .. })) = self.channels.get_mut(&channel)
        else {
            return Ok(());
        };
        if !self.window.is_fixed() {
            self.window.received(channel, data.len(), self.shared.activity.moment());
        }
        self.shared.activity.touch();
        let mut out = Vec::new();
        let (outcome, remarks, backlog) = match used {
            ChannelState::Sftp { session, remarks, backlog } => {
                (session.feed(data, &mut out).await.map_err(ChannelError::Sftp), remarks.take(), backlog)
            }
            ChannelState::Scp { session, backlog } => {
                (session.feed(data, &mut out).await.map_err(ChannelError::Scp), None, backlog)
            }
            ChannelState::Nothing | ChannelState::Finishing(_) => return Ok(()),
        };
        self.shared.activity.touch();
        if let Some(words) = remarks {
            session.extended_data(channel, STDERR, Bytes::from(words))?;
        }
        if !out.is_empty() {
            *backlog = backlog.saturating_add(out.len());
            session.data(channel, Bytes::from(out))?;
        }
        let flooded = *backlog > self.limits.queued_replies && session.has_pending_data(channel);
        self.look_at_windows(session);
        if flooded {
            tracing::info!(from = %self.shared.from, "the client asks and does not listen: disconnected");
            return self.disconnect(session, Disconnect::ByApplication, "Too many replies were left unread.");
        }
        match outcome {
            Ok(()) => Ok(()),
            Err(over) => self.end_channel(channel, over, session),
        }
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        // Nothing more comes on it, and of its end russh tells nobody if this side is the first to
        // close it.
        self.window.closed(channel);
        match self.channels.remove(&channel) {
            Some(ChannelState::Sftp { session: sftp, .. }) => {
                let out = Out::new(session, channel, &self.shared);
                let finish = tokio::spawn(async move {
                    sftp.finish().await;
                    out.close(0).await;
                });
                self.channels.insert(channel, ChannelState::Finishing(AbortOnDropHandle::new(finish)));
                Ok(())
            }
            Some(ChannelState::Scp { session: scp, .. }) => {
                let finish = tokio::spawn(scp.finish());
                self.channels.insert(channel, ChannelState::Finishing(AbortOnDropHandle::new(finish)));
                Ok(())
            }
            Some(ChannelState::Nothing) => session.close(channel),
            Some(finishing @ ChannelState::Finishing(_)) => {
                self.channels.insert(channel, finishing);
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn channel_close(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.channels.remove(&channel);
        self.window.closed(channel);
        // russh keeps what the client did not take, will never be asked for it again, and until it
        // is gone passes on nothing for any other channel: such a connection is of no more use to
        // anybody.
        if session.has_pending_data(channel) {
            return self.disconnect(session, Disconnect::ByApplication, "The channel was closed with data on its way.");
        }
        self.look_at_windows(session);
        Ok(())
    }

    async fn window_adjusted(
        &mut self,
        _channel: ChannelId,
        _new_size: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.look_at_windows(session);
        Ok(())
    }

    /// russh has topped the channel up, and has not yet handed over what made it do so.
    fn adjust_window(&mut self, channel: ChannelId, current: u32) -> u32 {
        let carries = matches!(self.channels.get(&channel), Some(ChannelState::Sftp { .. } | ChannelState::Scp { .. }));
        if self.window.is_fixed() || !carries {
            return current;
        }
        let now = self.shared.activity.moment();
        let next = self.window.topped_up(channel, now);
        if next != current {
            let tcp_buffer = now.tcp_buffer;
            tracing::debug!(from = %self.shared.from, window = next, tcp_buffer, "what the client may send ahead follows the line");
        }
        next
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.goes_on();
        let (Some(used @ ChannelState::Nothing), Some(login)) =
            (self.channels.get_mut(&channel), self.shared.login.get())
        else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        self.shared.activity.touch();
        let out = Out::new(session, channel, &self.shared);
        let share = self.access.session(login);
        let question = match Command::parse(command) {
            Some(Command::Scp(request)) => return self.begin_scp(channel, share, request, out, session).await,
            Some(Command::Question(question)) => Some(question),
            None => None,
        };
        let run = tokio::spawn(async move {
            let answer = match question {
                Some(question) => out.keep_alive_while(question.run(&share)).await,
                None => exec::unknown(share.language()),
            };
            out.answer(answer).await;
        });
        *used = ChannelState::Finishing(AbortOnDropHandle::new(run));
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn signal(&mut self, channel: ChannelId, _signal: Sig, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }
}

/// The way back to the client for what is answered later. russh's queue behind it is short, and is
/// not emptied while the client's window is shut.
#[derive(Clone)]
struct Out {
    handle: Handle,
    channel: ChannelId,
    activity: Arc<Activity>,
    remarks: Arc<Remarks>,
}

impl Out {
    fn new(session: &Session, channel: ChannelId, shared: &ConnectionShared) -> Self {
        let remarks = Arc::new(Remarks::new(|refusal| refusal.sentence(Language::default()).into(), false));
        Self { handle: session.handle(), channel, activity: Arc::clone(&shared.activity), remarks }
    }

    /// Says all that a command had to say, and closes the channel. If the connection is gone,
    /// nobody waits for any of it.
    async fn answer(&self, answer: Answer) {
        let Answer { stdout, stderr, code } = answer;
        if !stdout.is_empty() {
            let _ = self.send(Bytes::from(stdout)).await;
        }
        if !stderr.is_empty() {
            let _ = self.handle.extended_data(self.channel, STDERR, Bytes::from(stderr)).await;
        }
        self.close(code).await;
    }

    /// Without an exit status scp reports a failure after a correct copy.
    async fn close(&self, code: u32) {
        let _ = self.handle.exit_status_request(self.channel, code).await;
        let _ = self.handle.eof(self.channel).await;
        let _ = self.handle.close(self.channel).await;
    }
}

impl scp::Channel for Out {
    async fn end(&self, code: u32, stderr: Vec<u8>) {
        self.answer(Answer { stdout: Vec::new(), stderr, code }).await;
    }
}

impl ReplySink for Out {
    fn refused(&self, refusal: Refusal) {
        self.remarks.refused(refusal);
    }

    async fn keep_alive_while<T: Send>(&self, work: impl Future<Output = T> + Send) -> T {
        self.activity.keep_alive_while(work).await
    }

    async fn send(&self, reply: Bytes) -> Result<(), Closed> {
        let waiting = self.activity.reply_waits();
        if let Some(words) = self.remarks.take() {
            let _ = self.handle.extended_data(self.channel, STDERR, Bytes::from(words)).await;
        }
        let sent = self.handle.data(self.channel, reply).await;
        drop(waiting);
        self.activity.touch();
        sent.map_err(|_| Closed)
    }
}
