/** The packages from PyPI that tests use, with the versions that are tried against. @module */
import type { PythonSet } from "./python.ts";

export const AIRFLOW: PythonSet = {
  name: "airflow-3.3.2-1.21.0-uv",
  packages: ["apache-airflow-core==3.3.2", "apache-airflow-providers-standard==1.21.0"],
};

export const CONFLUENT: PythonSet = { name: "confluent-kafka-2.11.0", packages: ["confluent-kafka[avro]==2.11.0"] };

export const FAKESNOW: PythonSet = {
  name: "fakesnow-0.12.1-uv",
  // The newest connector that this fakesnow works with.
  packages: ["fakesnow==0.12.1", "snowflake-connector-python<5"],
};

export const LAKE_PYTHON: PythonSet = {
  name: "lake-python-1.6.6-26.0.1-2.0.0-1.13.1-uv",
  packages: ["deltalake==1.6.6", "pyarrow==26.0.1", "duckdb==2.0.0", "fastavro==1.13.1"],
};

export const MOTO_VERSION = "5.2.5";
export const MOTO: PythonSet = { name: `moto-${MOTO_VERSION}-uv`, packages: [`moto[server]==${MOTO_VERSION}`] };

export const SCHEMATHESIS: PythonSet = { name: "schemathesis-4.32.5", packages: ["schemathesis==4.32.5"] };
