//! Long answers that are made while they are sent. They break off when the key's time ends that asked for them: what was sent so far is
//! not a whole, and no client can take it for one.

use std::sync::Arc;

use axum::BoxError;
use axum::body::Body;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt as _};

use crate::auth::{Caller, Life};

/// The pieces as a body, for as long as the caller's key is valid.
pub(crate) fn body<P, E>(pieces: impl Stream<Item = Result<P, E>> + Send + 'static, caller: &Caller) -> Body
where
    P: Into<Bytes> + 'static,
    E: Into<BoxError> + 'static,
{
    Body::from_stream(while_valid(pieces, Arc::clone(&caller.life)))
}

fn while_valid<P, E>(
    pieces: impl Stream<Item = Result<P, E>> + Send + 'static,
    key: Arc<Life>,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send
where
    P: Into<Bytes> + 'static,
    E: Into<BoxError> + 'static,
{
    let pieces = pieces.map(|piece| piece.map(Into::into).map_err(Into::into)).boxed();
    stream::unfold(Some((pieces, key)), async |open| {
        let (mut pieces, key) = open?;
        tokio::select! {
            biased;
            ended = key.end() => Some((Err(ended.message().into()), None)),
            piece = pieces.next() => piece.map(|piece| (piece, Some((pieces, key)))),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt as _;
    use vivarium_domain::KeyEnd;

    use super::*;

    #[test]
    fn a_download_breaks_off_with_the_key_that_asked_for_it() {
        let key = Arc::<Life>::default();
        let pieces = stream::iter([Ok::<_, Infallible>("a")]).chain(stream::pending());
        let mut download = Box::pin(while_valid(pieces, Arc::clone(&key)));
        assert_eq!(download.next().now_or_never().unwrap().unwrap().unwrap(), "a");
        assert!(download.next().now_or_never().is_none());
        key.finish(KeyEnd::Revoked);
        let broken = download.next().now_or_never().unwrap().unwrap();
        assert_eq!(broken.unwrap_err().to_string(), "this API key has been revoked");
        assert!(download.next().now_or_never().unwrap().is_none());
    }
}
