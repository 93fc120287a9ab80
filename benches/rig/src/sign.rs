//! Signature Version 4, of AWS's general reference: what every request to AWS pays for, its body's hash above all.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

const REGION: &str = "eu-west-1";

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    // Of a key of any length there is an HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return [0; 32];
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signs for one service.
pub struct Signer {
    service: &'static str,
    day: String,
    key: [u8; 32],
}

impl Signer {
    pub fn new(service: &'static str, secret: &str, day: &str) -> Self {
        let key = mac(format!("AWS4{secret}").as_bytes(), day);
        let key = mac(&mac(&mac(&key, REGION), service), "aws4_request");
        Self {
            service,
            day: day.to_owned(),
            key,
        }
    }

    /// The value of `Authorization` for a POST to `/` at this time (`20250101T000000Z`).
    pub fn authorization(&self, host: &str, time: &str, target: &str, body: &[u8]) -> String {
        let names = "host;x-amz-date;x-amz-target";
        let payload = hex(&Sha256::digest(body));
        let request =
            format!("POST\n/\n\nhost:{host}\nx-amz-date:{time}\nx-amz-target:{target}\n\n{names}\n{payload}");
        let scope = format!("{}/{REGION}/{}/aws4_request", self.day, self.service);
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex(&Sha256::digest(request.as_bytes()))
        );
        let signature = hex(&mac(&self.key, &text));
        format!("AWS4-HMAC-SHA256 Credential=test/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}
