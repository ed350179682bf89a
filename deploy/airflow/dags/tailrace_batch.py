"""Every hour: read the shop's products, average their prices, pack and check the lake, and write files for a stage.

    ingest >> aggregate >> compact >> audit >> stage

Each task runs Tailrace over what is there and ends. It goes on where the last run stopped, so a task that is tried again, or a run
that was left out, loses nothing and doubles nothing. Tasks share a data folder: they run one after the other, on one worker.

Set in the worker's environment:

    TAILRACE_HOME   the folder of Tailrace's sources
    TAILRACE_DENO   how Deno is called (default: npx -y deno@2.9.6)
    TAILRACE_MODE   run, with KAFKA_BROKERS, SCHEMA_REGISTRY_URL and DATABASE_URL (default), or dev, with everything embedded
    TAILRACE_DATA   the data folder (default: data in TAILRACE_HOME)
"""

import os
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

MODE = os.environ.get("TAILRACE_MODE", "run")
# Made-up streams have no place in a batch.
OPTIONS = "--rate 0 --partitions 4" if MODE == "dev" else ""
COMMAND = f'cd "$TAILRACE_HOME" && ${{TAILRACE_DENO:-npx -y deno@2.9.6}} task -q {MODE} {OPTIONS}'


def tailrace(task_id: str, words: str) -> BashOperator:
    """A task that ends with exit code 0 and a JSON summary when all of it went well."""
    return BashOperator(
        task_id=task_id,
        bash_command=f"{COMMAND} {words}",
        append_env=True,
        execution_timeout=timedelta(minutes=30),
    )


with DAG(
    dag_id="tailrace_batch",
    description="Products to averages, lake and files",
    schedule="@hourly",
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # Two would want the same data folder.
    max_active_runs=1,
    max_active_tasks=1,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    tags=["tailrace"],
    doc_md=__doc__,
) as dag:
    ingest = tailrace("ingest", "products --until latest")
    aggregate = tailrace("aggregate", "category_prices --until latest")
    compact = tailrace("compact", "category_prices --until latest --then compact")
    audit = tailrace("audit", "category_prices --until latest --then audit")
    stage = tailrace("stage", "products_files --until latest")

    ingest >> aggregate >> compact >> audit >> stage
