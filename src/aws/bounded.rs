//! The body of an answer within bounds: refused before it is read, where its length is told, and gathered in one
//! place.
//!
//! Owns one interceptor and the body that it puts in place of the connection's. The SDK collects a body in the pieces
//! that it comes in, and then copies them into one: twice the memory. This one is written where it stays. The adapters
//! that read records use it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextMut;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::raw::Slot;

/// An answer that refuses, or tells nothing of its length, may always have so many bytes: an error is to be told.
const ALWAYS: usize = 16 << 10;

/// Lets the body of one answer have so many bytes.
#[derive(Clone, Debug)]
pub struct Bounded {
    most: usize,
    refused: Slot<usize>,
}

impl Bounded {
    pub fn new(most: usize) -> Self {
        Self {
            most: most.max(ALWAYS),
            refused: Slot::default(),
        }
    }

    /// How many bytes the answer has that was refused, as far as it told; `None`: it was not.
    pub fn refused(&self) -> Option<usize> {
        self.refused.take()
    }
}

impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let told = body.content_length().and_then(|told| usize::try_from(told).ok());
        if let Some(told) = told
            && told > self.most
        {
            self.refused.put(told);
            return Err(TooLong.into());
        }
        if body.bytes().is_some() {
            // It is in memory.
            return Ok(());
        }
        let inner = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(Gathered {
            inner,
            told: told.unwrap_or(0),
            most: self.most,
            refused: self.refused.clone(),
            whole: BytesMut::new(),
            ended: false,
        });
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the answer is longer than there is memory reserved for")]
struct TooLong;

/// A body that comes as one piece.
struct Gathered {
    inner: SdkBody,
    /// 0: its length is not known.
    told: usize,
    most: usize,
    refused: Slot<usize>,
    whole: BytesMut,
    ended: bool,
}

impl Body for Gathered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        while !self.ended {
            let piece = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => piece,
                    // Trailers say nothing that anybody asks for.
                    Err(_) => continue,
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    break;
                }
            };
            let length = self.whole.len() + piece.len();
            if length > self.most {
                self.ended = true;
                self.whole = BytesMut::new();
                // It may be twice as long, or longer: nobody knows.
                self.refused.put(length.saturating_mul(2));
                return Poll::Ready(Some(Err(TooLong.into())));
            }
            if self.whole.is_empty() {
                if piece.len() == self.told {
                    // As it is.
                    self.told = 0;
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                let told = self.told.max(piece.len());
                self.whole.reserve(told);
            }
            self.whole.extend_from_slice(&piece);
        }
        match self.whole.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Ready(Some(Ok(Frame::data(self.whole.split().freeze())))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.told {
            0 => SizeHint::default(),
            told => SizeHint::with_exact(told as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::byte_stream::ByteStream;

    use super::*;

    /// Comes in these pieces, with or without its length told.
    struct Pieces(Vec<&'static str>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
            match self.0.is_empty() {
                true => Poll::Ready(None),
                false => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(
                    self.0.remove(0).as_bytes(),
                ))))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            let all = self.0.iter().map(|piece| piece.len() as u64).sum();
            match self.1 {
                true => SizeHint::with_exact(all),
                false => SizeHint::default(),
            }
        }
    }

    #[tokio::test]
    async fn a_body_is_gathered_as_it_came_and_no_more_of_it_than_is_allowed() {
        for (pieces, told, most, whole, refused) in [
            (vec!["ab", "cde"], true, 5, Some("abcde"), None),
            (vec!["abcde"], true, 5, Some("abcde"), None),
            (vec!["ab", "cde"], false, 5, Some("abcde"), None),
            (vec![], true, 5, Some(""), None),
            (vec![], false, 5, Some(""), None),
            (vec!["ab", "", "cdef"], false, 5, None, Some(12)),
            (vec!["abcdef"], false, 5, None, Some(12)),
        ] {
            let slot = Slot::default();
            let inner = SdkBody::from_body_1_x(Pieces(pieces.clone(), told));
            let told = inner.content_length().unwrap_or(0) as usize;
            let body = SdkBody::from_body_1_x(Gathered {
                inner,
                told,
                most,
                refused: slot.clone(),
                whole: BytesMut::new(),
                ended: false,
            });
            let got = ByteStream::new(body)
                .collect()
                .await
                .ok()
                .map(|got| got.into_bytes());
            assert_eq!(got.as_deref(), whole.map(str::as_bytes), "{pieces:?}");
            assert_eq!(slot.take(), refused, "{pieces:?}");
        }
    }
}
