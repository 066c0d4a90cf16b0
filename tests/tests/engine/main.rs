//! The engine on a real kernel.

mod damage;
mod faults;
mod faulty_dm;
mod groups;
mod life;
mod recovery;
mod refusals;
mod support;
