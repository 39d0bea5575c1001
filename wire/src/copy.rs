//! COPY's part of the conversation: the data is the session's business, the messages are ours.
//!
//! While data comes in, Flush and Sync are ignored (drivers send Sync right after the Execute that
//! begins a COPY), CopyFail ends the statement with an error, and so does anything else. Data that
//! is still under way after an error is thrown away by the connection's loop.

use crate::connection::{Connection, Ended};
use crate::failure::Failure;
use crate::frontend::{self, Message};
use crate::limits::interruption;
use sql::{CopyIn, CopyOut, SqlError};
use std::io;

impl Connection {
    pub(crate) async fn copy_in(&mut self, mut copy: Box<CopyIn>) -> Result<Ended, Failure> {
        self.channel.out.copy_in_response(copy.format, copy.columns);
        self.channel.flush().await?;
        loop {
            let core = self.session.core().clone();
            let frame = tokio::select! {
                biased;
                frame = self.channel.read_frame() => frame?,
                () = core.cancelled() => {
                    self.session.copy_fail(copy, "canceled").await;
                    return Err(interruption(&core).into());
                }
                error = self.limits.expired(self.session.transaction_deadline()) => {
                    self.session.copy_fail(copy, "timed out").await;
                    return Err(error.into());
                }
            };
            match frontend::decode(frame.tag, &frame.body) {
                Ok(Message::CopyData) => self.session.copy_write(&mut copy, frame.body).await?,
                Ok(Message::CopyDone) => {
                    let tag = self.session.copy_finish(copy).await?;
                    return Ok(Ended::Complete(tag.into()));
                }
                Ok(Message::CopyFail(reason)) => {
                    return Err(self.session.copy_fail(copy, reason).await.into());
                }
                Ok(Message::Flush | Message::Sync) => {}
                Ok(Message::Terminate) => {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
                Ok(_) => {
                    let reason = format!(
                        "unexpected message type 0x{:02X} during COPY from stdin",
                        frame.tag
                    );
                    self.session.copy_fail(copy, &reason).await;
                    return Err(SqlError::new("08P01", reason).into());
                }
                Err(malformed) => {
                    self.session.copy_fail(copy, "malformed message").await;
                    return Err(malformed.into());
                }
            }
        }
    }

    pub(crate) async fn copy_out(&mut self, mut copy: Box<CopyOut>) -> Result<Ended, Failure> {
        self.channel.out.copy_out_response(copy.format, copy.columns);
        while let Some(chunk) = self.limits.bound(&mut self.session, copy.next()).await? {
            if let Err(error) = self.channel.out.copy_data(&chunk) {
                self.session.fail();
                return Err(error.into());
            }
            self.channel.relieve().await?;
        }
        self.channel.out.copy_done();
        Ok(Ended::Complete(copy.tag().into()))
    }
}
