//! Which types are there, and what does each field hold? Those of MLflow's schema, with the names that its
//! JSON has; a query says them in camel case.

/// A field of a type: its name in JSON and what it holds.
pub(super) type Field = (&'static str, Kind);

/// A type whose fields can be chosen.
#[derive(Debug)]
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) fields: &'static [Field],
}

/// What a field holds. One that an answer does not have is shown empty, as zero or as the first word.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// Text that is this when the answer has none.
    TextOr(&'static str),
    Texts,
    /// A whole number, which is shown as text.
    Long,
    Real,
    /// A number of which NaN is shown as null.
    RealOrNull,
    Flag,
    /// One of these words.
    Word(&'static str, &'static [&'static str]),
    One(&'static Type),
    Many(&'static Type),
    /// What is never said: errors have a list of their own.
    Never(&'static Type),
    /// The experiment of a run, which is asked for.
    ItsExperiment,
    /// The versions of models that came from a run, which are asked for.
    ItsVersions,
}

impl Kind {
    /// The type whose fields are chosen within.
    pub(super) const fn within(self) -> Option<&'static Type> {
        match self {
            Self::One(within) | Self::Many(within) | Self::Never(within) => Some(within),
            Self::ItsExperiment => Some(&EXPERIMENT),
            Self::ItsVersions => Some(&VERSION),
            _ => None,
        }
    }

    /// The type's name in messages.
    pub(super) fn name(self) -> String {
        match self {
            Self::Text | Self::TextOr(_) => "String".to_owned(),
            Self::Texts => "[String]".to_owned(),
            Self::Long => "LongString".to_owned(),
            Self::Real | Self::RealOrNull => "Float".to_owned(),
            Self::Flag => "Boolean".to_owned(),
            Self::Word(name, _) => name.to_owned(),
            Self::Many(within) => format!("[{}!]", within.name),
            Self::ItsVersions => format!("[{}!]", VERSION.name),
            Self::One(within) | Self::Never(within) => within.name.to_owned(),
            Self::ItsExperiment => EXPERIMENT.name.to_owned(),
        }
    }
}

/// What may be asked first: its name, its input, the call that answers it, and what that shows.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) name: &'static str,
    pub(super) input: &'static Input,
    pub(super) call: (&'static str, &'static str),
    pub(super) shows: Type,
}

/// The fields of an input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) fields: &'static [(&'static str, Taken)],
}

/// What a field of an input takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Text,
    Texts,
    Int,
    Long,
    Word(&'static str, &'static [&'static str]),
}

impl Taken {
    /// The type's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "String",
            Self::Texts => "[String]",
            Self::Int => "Int",
            Self::Long => "LongString",
            Self::Word(name, _) => name,
        }
    }
}

/// The name of a field in a query, such as `runUuid` for `run_uuid`.
pub(super) fn camel(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                camel.push(c.to_ascii_uppercase());
                upper = false;
            }
            c => camel.push(c),
        }
    }
    camel
}

/// What a query may ask; a mutation may ask those of [`MUTATION`]. Neither changes anything.
pub(super) static QUERY: &[&Root] =
    &[&GET_EXPERIMENT, &GET_HISTORY, &GET_RUN, &LIST_ARTIFACTS, &SEARCH_VERSIONS, &SEARCH_RUNS];
/// What a mutation may ask.
pub(super) static MUTATION: &[&Root] = &[&SEARCH_DATASETS, &SEARCH_RUNS];

use Kind::{
    Flag, ItsExperiment, ItsVersions, Long, Many, Never, One, Real, RealOrNull, Text, TextOr,
    Texts, Word,
};

static GET_EXPERIMENT: Root = Root {
    name: "mlflowGetExperiment",
    input: &Input { name: "MlflowGetExperimentInput", fields: &[("experiment_id", Taken::Text)] },
    call: ("GET", "2.0/mlflow/experiments/get"),
    shows: Type {
        name: "MlflowGetExperimentResponse",
        fields: &[("experiment", One(&EXPERIMENT)), FAILED],
    },
};

static GET_HISTORY: Root = Root {
    name: "mlflowGetMetricHistoryBulkInterval",
    input: &Input {
        name: "MlflowGetMetricHistoryBulkIntervalInput",
        fields: &[
            ("run_ids", Taken::Texts),
            ("metric_key", Taken::Text),
            ("start_step", Taken::Int),
            ("end_step", Taken::Int),
            ("max_results", Taken::Int),
        ],
    },
    call: ("GET", "2.0/mlflow/metrics/get-history-bulk-interval"),
    shows: Type {
        name: "MlflowGetMetricHistoryBulkIntervalResponse",
        fields: &[("metrics", Many(&POINT)), FAILED],
    },
};

static GET_RUN: Root = Root {
    name: "mlflowGetRun",
    input: &Input {
        name: "MlflowGetRunInput",
        fields: &[("run_id", Taken::Text), ("run_uuid", Taken::Text)],
    },
    call: ("GET", "2.0/mlflow/runs/get"),
    shows: Type { name: "MlflowGetRunResponse", fields: &[("run", One(&RUN)), FAILED] },
};

static LIST_ARTIFACTS: Root = Root {
    name: "mlflowListArtifacts",
    input: &Input {
        name: "MlflowListArtifactsInput",
        fields: &[
            ("run_id", Taken::Text),
            ("run_uuid", Taken::Text),
            ("path", Taken::Text),
            ("page_token", Taken::Text),
        ],
    },
    call: ("GET", "2.0/mlflow/artifacts/list"),
    shows: Type {
        name: "MlflowListArtifactsResponse",
        fields: &[("root_uri", Text), ("files", Many(&FILE)), NEXT, FAILED],
    },
};

static SEARCH_VERSIONS: Root = Root {
    name: "mlflowSearchModelVersions",
    input: &Input {
        name: "MlflowSearchModelVersionsInput",
        fields: &[
            ("filter", Taken::Text),
            ("max_results", Taken::Long),
            ("order_by", Taken::Texts),
            ("page_token", Taken::Text),
        ],
    },
    call: ("GET", "2.0/mlflow/model-versions/search"),
    shows: Type {
        name: "MlflowSearchModelVersionsResponse",
        fields: &[("model_versions", Many(&VERSION)), NEXT, FAILED],
    },
};

static SEARCH_RUNS: Root = Root {
    name: "mlflowSearchRuns",
    input: &Input {
        name: "MlflowSearchRunsInput",
        fields: &[
            ("experiment_ids", Taken::Texts),
            ("filter", Taken::Text),
            (
                "run_view_type",
                Taken::Word("MlflowViewType", &["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]),
            ),
            ("max_results", Taken::Int),
            ("order_by", Taken::Texts),
            ("page_token", Taken::Text),
        ],
    },
    call: ("POST", "2.0/mlflow/runs/search"),
    shows: Type { name: "MlflowSearchRunsResponse", fields: &[("runs", Many(&RUN)), NEXT, FAILED] },
};

static SEARCH_DATASETS: Root = Root {
    name: "mlflowSearchDatasets",
    input: &Input {
        name: "MlflowSearchDatasetsInput",
        fields: &[("experiment_ids", Taken::Texts)],
    },
    call: ("POST", "2.0/mlflow/experiments/search-datasets"),
    shows: Type {
        name: "MlflowSearchDatasetsResponse",
        fields: &[("dataset_summaries", Many(&SUMMARY)), FAILED],
    },
};

const NEXT: Field = ("next_page_token", Text);
const FAILED: Field = ("api_error", Never(&API_ERROR));

static API_ERROR: Type = Type {
    name: "ApiError",
    fields: &[
        ("code", Text),
        ("message", Text),
        ("help_url", Text),
        ("trace_id", Text),
        ("error_details", Many(&DETAIL)),
    ],
};
static DETAIL: Type = Type { name: "ErrorDetail", fields: &[("field", Text), ("message", Text)] };

static EXPERIMENT: Type = Type {
    name: "MlflowExperiment",
    fields: &[
        ("experiment_id", Text),
        ("name", Text),
        ("artifact_location", Text),
        ("lifecycle_stage", Text),
        ("last_update_time", Long),
        ("creation_time", Long),
        ("tags", Many(&EXPERIMENT_TAG)),
        ("effective_trace_archival_retention", Text),
        ("workspace", TextOr("default")),
    ],
};

static RUN: Type = Type {
    name: "MlflowRunExtension",
    fields: &[
        ("info", One(&RUN_INFO)),
        ("data", One(&RUN_DATA)),
        ("inputs", One(&RUN_INPUTS)),
        ("outputs", One(&RUN_OUTPUTS)),
        ("experiment", ItsExperiment),
        ("model_versions", ItsVersions),
    ],
};
static RUN_INFO: Type = Type {
    name: "MlflowRunInfo",
    fields: &[
        ("run_id", Text),
        ("run_uuid", Text),
        ("run_name", Text),
        ("experiment_id", Text),
        ("user_id", Text),
        (
            "status",
            Word("MlflowRunStatus", &["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]),
        ),
        ("start_time", Long),
        ("end_time", Long),
        ("artifact_uri", Text),
        ("lifecycle_stage", Text),
    ],
};
static RUN_DATA: Type = Type {
    name: "MlflowRunData",
    fields: &[("metrics", Many(&METRIC)), ("params", Many(&PARAM)), ("tags", Many(&RUN_TAG))],
};
static RUN_INPUTS: Type = Type {
    name: "MlflowRunInputs",
    fields: &[("dataset_inputs", Many(&DATASET_INPUT)), ("model_inputs", Many(&MODEL_INPUT))],
};
static RUN_OUTPUTS: Type =
    Type { name: "MlflowRunOutputs", fields: &[("model_outputs", Many(&MODEL_OUTPUT))] };
static MODEL_INPUT: Type = Type { name: "MlflowModelInput", fields: &[("model_id", Text)] };
static MODEL_OUTPUT: Type =
    Type { name: "MlflowModelOutput", fields: &[("model_id", Text), ("step", Long)] };
static DATASET_INPUT: Type = Type {
    name: "MlflowDatasetInput",
    fields: &[("tags", Many(&INPUT_TAG)), ("dataset", One(&DATASET))],
};
static DATASET: Type = Type {
    name: "MlflowDataset",
    fields: &[
        ("name", Text),
        ("digest", Text),
        ("source_type", Text),
        ("source", Text),
        ("schema", Text),
        ("profile", Text),
    ],
};
static SUMMARY: Type = Type {
    name: "MlflowDatasetSummary",
    fields: &[("experiment_id", Text), ("name", Text), ("digest", Text), ("context", Text)],
};

static METRIC: Type = Type {
    name: "MlflowMetricExtension",
    fields: &[
        ("key", Text),
        ("value", RealOrNull),
        ("timestamp", Long),
        ("step", Long),
        ("dataset_name", Text),
        ("dataset_digest", Text),
        ("model_id", Text),
        ("run_id", Text),
    ],
};
static POINT: Type = Type {
    name: "MlflowMetricWithRunId",
    fields: &[
        ("key", Text),
        ("value", Real),
        ("timestamp", Long),
        ("step", Long),
        ("run_id", Text),
    ],
};
static FILE: Type = Type {
    name: "MlflowFileInfo",
    fields: &[("path", Text), ("is_dir", Flag), ("file_size", Long)],
};

static VERSION: Type = Type {
    name: "MlflowModelVersion",
    fields: &[
        ("name", Text),
        ("version", Text),
        ("creation_timestamp", Long),
        ("last_updated_timestamp", Long),
        ("user_id", Text),
        ("current_stage", Text),
        ("description", Text),
        ("source", Text),
        ("run_id", Text),
        (
            "status",
            Word(
                "MlflowModelVersionStatus",
                &["PENDING_REGISTRATION", "FAILED_REGISTRATION", "READY"],
            ),
        ),
        ("status_message", Text),
        ("tags", Many(&VERSION_TAG)),
        ("run_link", Text),
        ("aliases", Texts),
        ("model_id", Text),
        ("model_params", Many(&MODEL_PARAM)),
        ("model_metrics", Many(&MODEL_METRIC)),
        ("deployment_job_state", One(&JOB_STATE)),
    ],
};
static MODEL_METRIC: Type = Type {
    name: "MlflowModelMetric",
    fields: &[
        ("key", Text),
        ("value", Real),
        ("timestamp", Long),
        ("step", Long),
        ("dataset_name", Text),
        ("dataset_digest", Text),
        ("model_id", Text),
        ("run_id", Text),
    ],
};
static JOB_STATE: Type = Type {
    name: "MlflowModelVersionDeploymentJobState",
    fields: &[
        ("job_id", Text),
        ("run_id", Text),
        (
            "job_state",
            Word(
                "MlflowDeploymentJobConnectionState",
                &[
                    "DEPLOYMENT_JOB_CONNECTION_STATE_UNSPECIFIED",
                    "NOT_SET_UP",
                    "CONNECTED",
                    "NOT_FOUND",
                    "REQUIRED_PARAMETERS_CHANGED",
                ],
            ),
        ),
        (
            "run_state",
            Word(
                "MlflowModelVersionDeploymentJobStateDeploymentJobRunState",
                &[
                    "DEPLOYMENT_JOB_RUN_STATE_UNSPECIFIED",
                    "NO_VALID_DEPLOYMENT_JOB_FOUND",
                    "RUNNING",
                    "SUCCEEDED",
                    "FAILED",
                    "PENDING",
                    "APPROVAL",
                ],
            ),
        ),
        ("current_task_name", Text),
    ],
};

const PAIR: &[Field] = &[("key", Text), ("value", Text)];
static EXPERIMENT_TAG: Type = Type { name: "MlflowExperimentTag", fields: PAIR };
static RUN_TAG: Type = Type { name: "MlflowRunTag", fields: PAIR };
static INPUT_TAG: Type = Type { name: "MlflowInputTag", fields: PAIR };
static VERSION_TAG: Type = Type { name: "MlflowModelVersionTag", fields: PAIR };
static PARAM: Type = Type { name: "MlflowParam", fields: PAIR };
static MODEL_PARAM: Type =
    Type { name: "MlflowModelParam", fields: &[("name", Text), ("value", Text)] };
