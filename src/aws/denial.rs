//! Why AWS denied a request, and the way out of it.
//!
//! Pure. Owns the reading of a denial's words, which are the same for all services; whose key it is and what else a
//! service asks for, its adapter says. Used by every adapter, and by `weir check`.

/// Why a request was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No policy allows it, or one denies it in so many words.
    Permission {
        /// As IAM names it.
        action: String,
        is_explicit: bool,
    },
    /// A key in KMS can't be used.
    Key,
    /// This machine's clock is so wrong that signatures count as expired, or as not yet valid.
    Clock,
    Signature,
    /// The credentials were good once.
    Expired,
    /// There are no credentials.
    NoCredentials,
    /// The credentials are not known where they were shown.
    Strange,
    /// The account doesn't use the region or the service.
    NotEnabled,
}

/// Reads the text of [`crate::aws::failure::Failure::Denied`]. `action` is what was asked for, where the service
/// doesn't say. `None`: it says nothing that is known.
pub fn read(said: &str, action: &str) -> Option<Denial> {
    if said.starts_with("no credentials") {
        return Some(Denial::NoCredentials);
    }
    let (code, message) = said.split_once(": ").unwrap_or((said, ""));
    let lower = message.to_lowercase();
    let is_late = ["expired", "not yet current", "too skewed"]
        .iter()
        .any(|word| lower.contains(word));
    Some(match code {
        _ if code.starts_with("KMS") => Denial::Key,
        // Names of roles and groups may hold the word too.
        _ if lower.contains("kms key") || lower.contains("kms:") => Denial::Key,
        "AccessDenied" | "AccessDeniedException" | "NotAuthorized" | "UnauthorizedOperation" => {
            let (_, named) = message.split_once("not authorized to perform: ").unzip();
            let named = named.and_then(|rest| rest.split_whitespace().next());
            Denial::Permission {
                action: named.unwrap_or(action).to_owned(),
                is_explicit: lower.contains("explicit deny"),
            }
        }
        "RequestExpired" | "RequestTimeTooSkewed" => Denial::Clock,
        "InvalidSignatureException" | "SignatureDoesNotMatch" if is_late => Denial::Clock,
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException" => Denial::Signature,
        "ExpiredToken" | "ExpiredTokenException" => Denial::Expired,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "AuthFailure"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Denial::Strange,
        "OptInRequired" | "SubscriptionRequiredException" => Denial::NotEnabled,
        _ => return None,
    })
}

impl Denial {
    /// What to do, for a request about `what` in `region`. `None` for a key: what it must allow depends on the service.
    pub fn way_out(&self, what: &str, region: Option<&str>) -> Option<String> {
        let region = region.unwrap_or("the region");
        Some(match self {
            Self::Permission {
                action,
                is_explicit: true,
            } => format!("a policy denies {action} on {what} to the role: take that out"),
            Self::Permission { action, .. } => format!("give the role {action} on {what}"),
            Self::Key => return None,
            Self::Clock => "this machine's clock is wrong by minutes: set it".to_owned(),
            Self::Signature => "check the secret key, and that no proxy changes requests".to_owned(),
            Self::Expired => "renew the credentials".to_owned(),
            Self::NoCredentials => "give the process a role, or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
                                    AWS_SECRET_ACCESS_KEY"
                .to_owned(),
            Self::Strange => format!(
                "the credentials are not known in {region}: check them, and that `region` is right and enabled for the \
                 account"
            ),
            Self::NotEnabled => format!("enable {region} for the account, or set another `region`"),
        })
    }
}

/// A denial's text with the way out behind it, if it is known.
pub fn told(said: &str, action: &str, what: &str, region: Option<&str>) -> String {
    match read(said, action).and_then(|denial| denial.way_out(what, region)) {
        Some(way_out) => format!("{said}; {way_out}"),
        None => said.to_owned(),
    }
}
