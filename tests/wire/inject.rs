//! Faults before a service: which request they strike, and what its sender sees.

use std::time::Duration;

/// What the sender of a request sees.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The service refuses.
    Error(u16, &'static str),
    /// The connection breaks once the request is read.
    Reset,
    /// The connection breaks when the request's head is there and its body is not.
    ResetUnread,
    /// The head of an answer and half of its body; then the connection ends.
    Half,
    /// The answer, after a while.
    Late(Duration),
    /// A success whose body is no JSON.
    Garbled,
    /// A page of something in between, with this status.
    Page(u16),
    /// A success whose body is empty.
    Empty,
    /// Nothing, until the sender gives up.
    Never,
}

/// One kind of fault, and when it strikes.
#[derive(Clone, Debug)]
pub struct Rule {
    pub operation: &'static str,
    /// What the request's body holds.
    key: Option<String>,
    /// Requests that it lets pass first.
    skip: usize,
    times: usize,
    /// In so many of a hundred, by a generator of its own.
    chance: Option<(u8, fastrand::Rng)>,
    /// The service carries the request out first.
    pub applied: bool,
    pub reply: Reply,
    /// How often it struck.
    pub struck: usize,
}

/// A fault of an operation: the first request is not carried out, and its connection breaks.
pub fn on(operation: &'static str) -> Rule {
    Rule {
        operation,
        key: None,
        skip: 0,
        times: 1,
        chance: None,
        applied: false,
        reply: Reply::Reset,
        struck: 0,
    }
}

impl Rule {
    /// Only requests whose body holds this text.
    pub fn with(mut self, text: impl Into<String>) -> Self {
        self.key = Some(text.into());
        self
    }

    /// Not the first so many.
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Until all rules are lifted.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// So many of a hundred requests; the same ones with the same seed, if they come in the same order.
    pub fn percent(mut self, percent: u8, seed: u64) -> Self {
        self.chance = Some((percent, fastrand::Rng::with_seed(seed)));
        self
    }

    /// The service carries it out, and `reply` is what becomes of its answer.
    pub fn applied(mut self, reply: Reply) -> Self {
        self.applied = true;
        self.reply = reply;
        self
    }

    /// The service knows nothing of the request.
    pub fn replies(mut self, reply: Reply) -> Self {
        self.applied = false;
        self.reply = reply;
        self
    }

    pub fn error(self, status: u16, code: &'static str) -> Self {
        self.replies(Reply::Error(status, code))
    }

    /// Whether the head alone tells that it strikes.
    fn is_early(&self) -> bool {
        matches!(self.reply, Reply::ResetUnread)
    }

    fn strikes(&mut self, operation: &str, body: &str) -> bool {
        let fits = self.operation == operation
            && self.key.as_ref().is_none_or(|key| body.contains(key))
            && self.struck < self.times;
        if !fits {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        let struck = match &mut self.chance {
            Some((percent, rng)) => rng.u8(..100) < *percent,
            None => true,
        };
        self.struck += usize::from(struck);
        struck
    }
}

/// All faults of one fake.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// The fault that strikes a request, if any. `body`: none while only the head was read.
    pub fn strike(&mut self, operation: &str, body: Option<&str>) -> Option<(bool, Reply)> {
        let rule = self
            .0
            .iter_mut()
            .filter(|rule| rule.is_early() == body.is_none())
            .find_map(|rule| rule.strikes(operation, body.unwrap_or_default()).then_some(rule))?;
        Some((rule.applied, rule.reply.clone()))
    }

    /// From now on nothing strikes.
    pub fn lift(&mut self) {
        for rule in &mut self.0 {
            rule.times = 0;
        }
    }
}
