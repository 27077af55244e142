//! What a distillation calls while it runs.

use std::cell::RefCell;
use std::ops::ControlFlow;

use wheels_distill::{StepReport, WorkProgress};

use crate::{BudgetReport, CalibrationTrial};

/// A callback after each step, which can stop the run.
pub(crate) type OnStep<'a> = dyn FnMut(&StepReport) -> ControlFlow<()> + 'a;

/// The callbacks of a [`Distillation`](crate::Distillation). By default they do nothing.
pub(crate) struct Callbacks<'a> {
    /// After each step.
    pub(crate) step: Box<OnStep<'a>>,
    /// After each trial of the calibration.
    pub(crate) trial: Box<dyn FnMut(&CalibrationTrial) + 'a>,
    /// After each budget report.
    pub(crate) report: Box<dyn FnMut(&BudgetReport) + 'a>,
    /// During long work between steps and after them. The batches and the report share it.
    pub(crate) progress: RefCell<Box<dyn FnMut(WorkProgress) + 'a>>,
}

impl Default for Callbacks<'_> {
    fn default() -> Self {
        Self {
            step: Box::new(|_| ControlFlow::Continue(())),
            trial: Box::new(|_| ()),
            report: Box::new(|_| ()),
            progress: RefCell::new(Box::new(|_| ())),
        }
    }
}
