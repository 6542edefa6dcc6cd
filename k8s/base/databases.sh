#!/bin/sh
# Create one user and one database each for Airflow and MLflow. PostgreSQL's image runs this once, on an empty volume.
set -eu
for name in airflow mlflow; do
  password=$(cat "/secrets/$name")
  psql --username postgres --set ON_ERROR_STOP=1 --set name="$name" --set password="$password" <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
