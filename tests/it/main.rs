//! End-to-end stories: the program and the libraries on real data, against numbers of others and real components.
#![cfg(test)]

mod delivery;
mod golden;
mod invariance;
mod peers;
mod support;
