//! The announcement of a handle's epoch: one operation does it, the others wait.
#![forbid(unsafe_code)]

use std::rc::Rc;

use super::effect::{Half, perform};
use super::ledger::Ticket;
use super::run::{Run, State, Work};
use super::world::{Event, World};
use crate::dm::PoolMessage;
use crate::plan::{Step, announcement};
use crate::units::TransactionId;

/// How far an announcement is.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) enum Turn {
    /// Not begun, or waiting for somebody else's.
    Asking,
    /// `Opened` was appended and is waited for.
    Appended(Ticket, TransactionId),
    /// `Opened` is durable: the swap is next.
    Durable(TransactionId),
    /// The swap was sent: the status is next.
    Swapped(TransactionId),
}

impl Run {
    /// The next turn of an announcement, in every way in which it comes out.
    pub(super) fn announce(&self, world: &World, work: &Rc<Work>, turn: Turn) -> Vec<World> {
        let event = Event::Turn(self.slot, self.kind);
        let mut worlds = match turn {
            Turn::Asking => self.ask(world, work).into_iter().collect(),
            Turn::Appended(ticket, from) => self.wait_for(world, work, ticket, from),
            Turn::Durable(from) => self.swap(world, work, from),
            Turn::Swapped(to) => vec![self.look(world, work, to)],
        };
        for world in &mut worlds {
            *world = world.clone().noted(event.clone(), "announcing");
        }
        worlds
    }

    /// `None` while somebody else announces.
    fn ask(&self, world: &World, work: &Rc<Work>) -> Option<World> {
        let mut world = world.clone();
        if world.handle.announcing.is_some() {
            return None;
        }
        if world.handle.announced {
            return Some(self.clone().settle_in(world, State::Doing(Rc::clone(work), 0, Half::No)));
        }
        if world.handle.poisoned {
            return Some(self.clone().fail(world));
        }
        let from = world.kernel.core.transaction_id;
        let health = world.kernel.shown_health();
        let operation = work.plan.operation;
        let opened = announcement(world.memory().epoch(), health, from, operation);
        let Some(ticket) = opened.ok().and_then(|record| world.ledger.append(record).ok()) else {
            return Some(self.clone().fail(world));
        };
        world.handle.announcing = Some(self.slot);
        Some(self.turn(world, work, Turn::Appended(ticket, from)))
    }

    fn wait_for(
        &self,
        world: &World,
        work: &Rc<Work>,
        ticket: Ticket,
        from: TransactionId,
    ) -> Vec<World> {
        let mut worlds = Vec::new();
        let mut durable = world.clone();
        if durable.ledger.wait(ticket).is_ok() {
            worlds.push(self.turn(durable, work, Turn::Durable(from)));
            if let Some(mut failed) = world.clone().with_misfortune() {
                failed.ledger.fail();
                worlds.push(self.give_up(failed));
            }
        } else {
            worlds.push(self.give_up(durable));
        }
        worlds
    }

    fn swap(&self, world: &World, work: &Rc<Work>, from: TransactionId) -> Vec<World> {
        let to = from.next();
        let swap = Step::Message(PoolMessage::SetTransactionId { from, to });
        perform(world, self.slot, &swap, Half::No)
            .into_iter()
            .map(|(branch, note)| {
                let world = branch.world.noted(Event::Turn(self.slot, self.kind), note);
                match branch.result {
                    Ok(()) => self.turn(world, work, Turn::Swapped(to)),
                    Err(_) => self.give_up(world),
                }
            })
            .collect()
    }

    fn look(&self, world: &World, work: &Rc<Work>, to: TransactionId) -> World {
        let mut world = world.clone();
        let serves = world.kernel.shown_health().serves_messages();
        world.kernel.lagging = false;
        if !serves || world.kernel.core.transaction_id != to {
            return self.give_up(world);
        }
        world.handle.announced = true;
        world.handle.announcing = None;
        self.clone().settle_in(world, State::Doing(Rc::clone(work), 0, Half::No))
    }

    fn turn(&self, world: World, work: &Rc<Work>, turn: Turn) -> World {
        self.clone().settle_in(world, State::Announcing(Rc::clone(work), turn))
    }

    fn give_up(&self, mut world: World) -> World {
        world.handle.announcing = None;
        world.handle.poisoned = true;
        self.clone().fail(world)
    }
}
