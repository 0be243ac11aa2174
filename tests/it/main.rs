//! End-to-end stories: the program and the libraries on real data, against numbers of others and real components.
#![cfg(test)]

mod bad_input;
mod crashes;
mod delivery;
mod demo;
mod golden;
mod histories;
mod invariance;
mod peers;
mod reading;
mod stories;
mod support;
mod support_block;
mod support_run;
mod support_store;
