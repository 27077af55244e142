//! Folders of models and of runs.

use std::error::Error;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use training_wheels::TextModel;
use training_wheels::lm::LoadOptions;
use wheels_distill::FolderContent;

use crate::screen::console;
use crate::settings;

/// The folder of a model: the given one, or that of a model of the hub, which is downloaded with a progress bar.
pub(crate) fn model_folder(name: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut bar = None;
    let folder = training_wheels::hub::fetch(name, |progress| {
        let bar = bar.get_or_insert_with(|| {
            console::bar(None, "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left")
        });
        if bar.message() != progress.file {
            bar.set_message(progress.file.to_owned());
            bar.set_position(progress.done);
            bar.reset_eta();
        }
        progress.total.into_iter().for_each(|total| bar.set_length(total));
        bar.set_position(progress.done);
    })?;
    bar.iter().for_each(ProgressBar::finish_and_clear);
    Ok(folder)
}

/// As [`model_folder`]. The folder of a run that has no model yet is an error.
pub(crate) fn trained_model_folder(name: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let folder = model_folder(name)?;
    let has = |file: &str| folder.join(file).exists();
    if FolderContent::of(&folder)? == FolderContent::TeacherCache {
        let folder = folder.display();
        return Err(
            format!("{folder} is the cache of a teacher and no model: give it to distill --teacher-cache").into()
        );
    }
    if let (Some(command), false, false) =
        (settings::command_of_run(&folder), has("config.json"), has("adapter_config.json"))
    {
        let folder = folder.display();
        return Err(format!("{folder} has no model yet: its run has not ended, and `{command}` goes on with it").into());
    }
    Ok(folder)
}

/// Opens the model of a folder or of the hub.
pub(crate) fn open_model<'a>(name: &Path, options: impl Into<LoadOptions<'a>>) -> Result<TextModel, Box<dyn Error>> {
    Ok(TextModel::open(trained_model_folder(name)?, options)?)
}

/// Checks that an output folder has nothing that would be replaced or mixed with other files. `own` is what the program
/// itself writes, with which it goes on.
pub(crate) fn check_out(folder: &Path, own: FolderContent) -> Result<(), Box<dyn Error>> {
    match (FolderContent::of(folder)?, folder.display()) {
        (FolderContent::File, folder) => Err(format!("{folder} is a file: give a folder as --out").into()),
        (content, folder) if content != FolderContent::Free && content != own => {
            Err(format!("{folder} has {content}: give another folder as --out").into())
        }
        _ => Ok(()),
    }
}

/// Removes the folder of a run that was not started.
pub(crate) fn remove_if_empty(folder: &Path) {
    // A folder with files stays.
    let _ = std::fs::remove_dir(folder);
}
