//! The engine on a real kernel.

mod life;
mod support;
