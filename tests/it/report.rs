//! `etl report`: its page in a browser, its tables on the terminal, its errors, and the aggregates
//! that it reads.

mod aggregates;
mod page;
mod serve;
mod shop;
mod terminal;
