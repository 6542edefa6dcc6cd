#!/bin/sh
# Create the secrets of the namespace `nucleus` that don't exist yet, from random bytes. They are neither printed nor
# kept in files. This needs kubectl, and Python for the random bytes. A second run changes nothing.
set -eu
namespace=nucleus

random() { python3 -c 'import secrets; print(secrets.token_hex(32), end="")'; }
fernet_key() { python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode(), end="")'; }
is_there() { kubectl get secret "$1" --namespace "$namespace" >/dev/null 2>&1; }
create() {
  name=$1
  shift
  is_there "$name" || kubectl create secret generic "$name" --namespace "$namespace" "$@"
}

create database-passwords \
  --from-literal=postgres="$(random)" --from-literal=mlflow="$(random)" --from-literal=airflow="$(random)"
airflow=$(kubectl get secret database-passwords --namespace "$namespace" -o jsonpath='{.data.airflow}' | base64 -d)
create airflow-database --from-literal=connection="postgresql+psycopg2://airflow:$airflow@postgresql:5432/airflow"
create airflow-fernet-key --from-literal=fernet-key="$(fernet_key)"
create airflow-api-secret-key --from-literal=api-secret-key="$(random)"
create airflow-jwt-secret --from-literal=jwt-secret="$(random)"
create airflow-login --from-literal=passwords.json="{\"admin\": \"$(random)\"}"
