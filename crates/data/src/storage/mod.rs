//! Where are the files of the tables, and what is asked of that place? In the data folder
//! ([`durable`]), or below a prefix of a bucket ([`bucket`]). One place belongs to one data folder
//! ([`claim`]), and a commit that it was asked to make is known to be there or not ([`certain`]). What a
//! transaction would make of the tables is laid over it ([`staged`]).

pub(crate) mod bucket;
pub(crate) mod certain;
pub(crate) mod claim;
pub(crate) mod durable;
pub(crate) mod fault;
pub(crate) mod place;
pub(crate) mod staged;
