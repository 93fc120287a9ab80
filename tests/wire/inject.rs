//! Faults before a service: which request they strike, and what its sender sees.

use std::time::Duration;

/// What the sender of a request sees.
#[derive(Clone, Debug)]
pub enum Reply {
    /// The service refuses: status, code, message.
    Error(u16, &'static str, &'static str),
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
    operation: &'static str,
    /// What the request's body holds.
    key: Option<String>,
    /// Requests that it lets pass first.
    skip: usize,
    times: usize,
    /// In so many of a hundred, by a generator of its own.
    chance: Option<(u8, fastrand::Rng)>,
    /// The service carries the request out first.
    applied: bool,
    reply: Reply,
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

    /// The service carries it out, and `reply` is what becomes of its answer. A request that it refuses is none.
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
        self.replies(Reply::Error(status, code, "as the test wants it"))
    }

    /// With this message, where what is said matters.
    pub fn says(mut self, text: &'static str) -> Self {
        if let Reply::Error(_, _, message) = &mut self.reply {
            *message = text;
        }
        self
    }

    fn stage(&self) -> Stage {
        match (&self.reply, self.applied) {
            (Reply::ResetUnread, _) => Stage::Head,
            (_, false) => Stage::Request,
            (_, true) => Stage::Done,
        }
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

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its head was read.
    Head,
    /// It was read.
    Request,
    /// It was carried out.
    Done,
}

/// All faults of one fake.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

impl Rules {
    /// What the fault that strikes a request at this stage makes of it, if one does.
    pub fn strike(&mut self, stage: Stage, operation: &str, body: &str) -> Option<Reply> {
        let mut rules = self.0.iter_mut().filter(|rule| rule.stage() == stage);
        let rule = rules.find_map(|rule| rule.strikes(operation, body).then_some(rule))?;
        Some(rule.reply.clone())
    }

    /// From now on nothing strikes.
    pub fn lift(&mut self) {
        for rule in &mut self.0 {
            rule.times = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_what_it_names_after_what_it_lets_pass_as_often_as_it_may() {
        let mut rules = Rules(vec![on("PutLogEvents").with("s1").after(1).times(2)]);
        let mut strikes = |operation, body| rules.strike(Stage::Request, operation, body).is_some();
        let struck = [
            strikes("GetRecords", "s1"),
            strikes("PutLogEvents", "s2"),
            strikes("PutLogEvents", "s1"),
            strikes("PutLogEvents", "s1"),
            strikes("PutLogEvents", "s1"),
            strikes("PutLogEvents", "s1"),
        ];
        assert_eq!(struck, [false, false, false, true, true, false]);
        assert!(rules.strike(Stage::Done, "PutLogEvents", "s1").is_none());
        rules.lift();
        assert_eq!(rules.0[0].struck, 2);
    }

    #[test]
    fn chance_repeats_with_its_seed() {
        let struck = || {
            let mut rules = Rules(vec![on("Scan").percent(30, 9).always()]);
            let strikes = |_| rules.strike(Stage::Request, "Scan", "").is_some();
            (0..1000).map(strikes).collect::<Vec<_>>()
        };
        let first = struck();
        assert_eq!(first, struck());
        let count = first.iter().filter(|struck| **struck).count();
        assert!((200..400).contains(&count), "{count} of 1000");
    }
}
