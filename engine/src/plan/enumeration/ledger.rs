//! The journal as a crash sees it: what is durable, and what was appended and may be.
#![forbid(unsafe_code)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use crate::catalogue::{Catalogue, Record};
use crate::plan::{Failure, Tail};

/// A catalogue with its digest: two of the same content are the same state.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) catalogue: Catalogue,
    digest: u64,
}

impl Book {
    pub(super) fn new(catalogue: Catalogue) -> Rc<Self> {
        let mut hasher = DefaultHasher::new();
        for record in catalogue.checkpoint() {
            record.encode().hash(&mut hasher);
        }
        Rc::new(Self { catalogue, digest: hasher.finish() })
    }
}

impl Hash for Book {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest);
    }
}

/// Marks the frame that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Ticket(u64);

/// The journal of one handle.
#[derive(Debug, Clone, Hash)]
pub(super) struct Ledger {
    durable: Rc<Book>,
    /// What would be read if the medium lost the last durable frame.
    before_last: Option<Rc<Book>>,
    /// The states after each frame that may be on disk or not.
    pending: Vec<Rc<Book>>,
    /// A write failed: nothing more is taken.
    broken: bool,
    /// Something unreadable follows the last valid frame, until a checkpoint sets it aside.
    tail_damaged: bool,
}

/// What a crash may leave of the journal.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) ledger: Ledger,
    /// An acknowledged frame is gone.
    pub(super) frame_lost: bool,
}

impl Ledger {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self::of(Book::new(catalogue), None)
    }

    fn of(durable: Rc<Book>, before_last: Option<Rc<Book>>) -> Self {
        let (pending, broken, tail_damaged) = (Vec::new(), false, false);
        Self { durable, before_last, pending, broken, tail_damaged }
    }

    /// What follows the last valid frame.
    pub(super) const fn tail(&self) -> Tail {
        if self.tail_damaged { Tail::Damaged } else { Tail::Clean }
    }

    /// The state in memory: ahead of the disk by what is pending.
    pub(super) fn memory(&self) -> &Catalogue {
        &self.pending.last().unwrap_or(&self.durable).catalogue
    }

    /// Whether all that is in memory is durable; an error when it never will be.
    pub(super) const fn is_settled(&self) -> Result<bool, Failure> {
        match (self.pending.is_empty(), self.broken) {
            (true, _) => Ok(true),
            (false, false) => Ok(false),
            (false, true) => Err(Failure::Journal),
        }
    }

    /// Checks, applies and appends a record, as the handle does under one lock.
    pub(super) fn append(&mut self, record: Record) -> Result<Ticket, Failure> {
        if self.broken {
            return Err(Failure::Journal);
        }
        let mut catalogue = self.memory().clone();
        catalogue.apply(record).map_err(|_| Failure::Rejected)?;
        let book = Book::new(catalogue);
        let ticket = Ticket(book.digest);
        self.pending.push(book);
        Ok(ticket)
    }

    /// Waits until a frame is durable; all frames before it are durable then.
    pub(super) fn wait(&mut self, ticket: Ticket) -> Result<(), Failure> {
        let Some(at) = self.pending.iter().rposition(|book| book.digest == ticket.0) else {
            return Ok(());
        };
        if self.broken {
            return Err(Failure::Journal);
        }
        let durable = Rc::clone(&self.pending[at]);
        let before = if at == 0 { &self.durable } else { &self.pending[at - 1] };
        self.before_last = Some(Rc::clone(before));
        self.durable = durable;
        self.pending.drain(..=at);
        Ok(())
    }

    /// A write failed: what is pending may be on disk all the same.
    pub(super) fn fail(&mut self) {
        self.broken = true;
    }

    /// A checkpoint in the other region: the whole state at once, nothing torn behind it.
    pub(super) fn checkpoint(&mut self, catalogue: Catalogue) {
        *self = Self::new(catalogue);
    }

    /// Every journal that a crash at this moment may leave.
    pub(super) fn remains(&self) -> Vec<Remains> {
        let mut all = Vec::new();
        for kept in 0..=self.pending.len() {
            let mut ledger = self.clone();
            ledger.broken = false;
            if let Some(last) = kept.checked_sub(1) {
                let ticket = Ticket(self.pending[last].digest);
                // Waiting is how frames become durable.
                let _ = ledger.wait(ticket);
            }
            let torn = !ledger.pending.is_empty();
            ledger.pending.clear();
            let mut damaged = ledger.clone();
            damaged.tail_damaged = true;
            all.push(Remains { ledger, frame_lost: false });
            if torn {
                all.push(Remains { ledger: damaged, frame_lost: false });
            }
        }
        if let Some(before) = &self.before_last {
            let mut ledger = Self::of(Rc::clone(before), None);
            ledger.tail_damaged = true;
            all.push(Remains { ledger, frame_lost: true });
        }
        all
    }
}
