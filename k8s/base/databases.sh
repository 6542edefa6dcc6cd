#!/bin/sh
# Create one user and one database each for Airflow and MLflow. PostgreSQL's image runs this once, on an empty volume.
set -eu
for name in airflow mlflow; do
  # psql reads the password itself: among its arguments, every process of the pod could read it.
  name=$name psql --username postgres --set ON_ERROR_STOP=1 --set name="$name" <<'SQL'
\set password `cat "/secrets/$name"`
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
