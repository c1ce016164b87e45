//! The way to logs that all readers of a process share: one client, and for each operator one budget, or the part of it
//! that a process of several has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ct_model::ctlog::list;
use serde::{Deserialize, Serialize};

use super::client::{Client, ClientOptions};
use super::error::LogError;
use super::log::Log;
use super::operator::Operator;

/// How logs are asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccessOptions {
    pub client: ClientOptions,
    /// Requests to one operator at a time, over all processes of a job.
    pub requests_max: usize,
    /// `http://` to other machines than this one.
    pub allow_plaintext: bool,
}

#[derive(Clone)]
pub(crate) struct Access {
    pub(super) client: Client,
    requests_max: usize,
    /// The number of this process, and how many share the budgets.
    sharer: (usize, usize),
    pub(super) allow_plaintext: bool,
    operators: Arc<Mutex<HashMap<Box<str>, Arc<Operator>>>>,
}

impl Access {
    pub(crate) fn new(options: &AccessOptions, sharer: (usize, usize)) -> Result<Self, LogError> {
        Ok(Self {
            sharer,
            client: Client::new(&options.client)?,
            requests_max: options.requests_max,
            allow_plaintext: options.allow_plaintext,
            operators: Arc::default(),
        })
    }

    /// A log, asked within the budget of its operator. Connects to nothing.
    pub(super) fn open(&self, described: &list::Log) -> Result<Log, LogError> {
        let mut operators = self.operators.lock().unwrap_or_else(PoisonError::into_inner);
        let operator = operators.entry(described.operator.clone());
        let operator = operator.or_insert_with(|| Arc::new(Operator::new(self.requests_max, self.sharer)));
        Log::new(described, self.client.clone(), Arc::clone(operator), self.allow_plaintext)
    }
}
