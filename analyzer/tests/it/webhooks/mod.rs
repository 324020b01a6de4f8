//! Webhooks: who is told of what, once; where they may be; and what happens when nobody answers.

mod facts;
mod receiver;
mod routes;
mod sending;
mod targets;
mod telling;
