#!/bin/sh
# Run once by the image of PostgreSQL, on an empty volume: a user and a database each for Airflow and MLflow.
set -eu
for name in airflow mlflow; do
  password=$(cat "/secrets/$name")
  psql --username postgres --set ON_ERROR_STOP=1 --set name="$name" --set password="$password" <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
