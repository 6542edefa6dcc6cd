#!/bin/sh
# Create the secrets of the namespace `nucleus` that don't exist yet, from random bytes. They are neither printed nor
# kept in files, and no command has them among its arguments, which every process of the machine could read. This needs
# kubectl and Python. A second run changes nothing.
set -eu
namespace=nucleus

random() { python3 -c 'import secrets; print(secrets.token_hex(32))'; }
fernet_key() { python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'; }
is_there() { kubectl get secret "$1" --namespace "$namespace" >/dev/null 2>&1; }
# value NAME KEY, with the dots of the key as \.
value() { kubectl get secret "$1" --namespace "$namespace" -o jsonpath="{.data.$2}" | base64 -d; }

# create NAME KEY ...: the values come by standard input, a line each.
create() {
  if is_there "$1"; then
    cat >/dev/null
    return
  fi
  python3 -c '
import json, sys
name, *keys = sys.argv[1:]
content = dict(zip(keys, sys.stdin.read().splitlines(), strict=True))
json.dump({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}, sys.stdout)
' "$@" | kubectl create --namespace "$namespace" --filename -
}

# The accounts of programs, by the hashes of their passwords; those of people come by account.sh.
accounts_of_programs() {
  { value airflow-login 'passwords\.json'; echo; value mlflow-login MLFLOW_TRACKING_PASSWORD; echo
    value mlflow-page-login MLFLOW_TRACKING_PASSWORD; } | python3 -c '
import hashlib, json, sys
of_notes, of_tasks, of_page = sys.stdin.read().splitlines()
passwords = {name: ("notes", password) for name, password in json.loads(of_notes).items()}
passwords |= {"pipeline": ("pipeline", of_tasks), "page": ("page", of_page)}
print(json.dumps({
    name: {"role": role, "sha256": hashlib.sha256(password.encode()).hexdigest()}
    for name, (role, password) in passwords.items()
}))'
}

# An installation from before lacks the accounts of programs that came later: gives the secret with them, if so.
with_missing_accounts() {
  { accounts_of_programs; kubectl get secret accounts --namespace "$namespace" -o json; } | python3 -c '
import base64, json, sys
of_programs, secret = json.loads(sys.stdin.readline()), json.load(sys.stdin)
known = json.loads(base64.b64decode(secret["data"]["accounts.json"]))
if of_programs.keys() - known.keys():
    content = json.dumps(of_programs | known, indent=1).encode()
    json.dump(secret | {"data": {"accounts.json": base64.b64encode(content).decode()}}, sys.stdout)'
}

{ random; random; random; } | create database-passwords postgres mlflow airflow
value database-passwords airflow |
  sed 's|.*|postgresql+psycopg2://airflow:&@postgresql:5432/airflow|' | create airflow-database connection
fernet_key | create airflow-fernet-key fernet-key
random | create airflow-api-secret-key api-secret-key
random | create airflow-jwt-secret jwt-secret
random | sed 's|.*|{"notes": "&"}|' | create airflow-login passwords.json
{ echo pipeline; random; } | create mlflow-login MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD
{ echo page; random; } | create mlflow-page-login MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD
if is_there accounts; then
  changed=$(with_missing_accounts)
  # Refused when somebody else changed it meanwhile: the version that was read comes with it.
  [ -z "$changed" ] || printf '%s' "$changed" | kubectl replace --namespace "$namespace" --filename -
else
  accounts_of_programs | create accounts accounts.json
fi
