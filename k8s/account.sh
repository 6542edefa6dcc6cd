#!/bin/sh
# Give a person an account for Airflow and MLflow with a new random password, which is printed, or take it away:
#   k8s/account.sh NAME look|annotate|train|approve|administrate|none
# k8s/README.md says what each role may. For a name that has an account, its role and its password become others. It
# takes effect within two minutes. This needs kubectl and Python; only the hash of the password is kept.
set -eu
changed=$(kubectl get secret accounts --namespace nucleus -o json | python3 -c '
import base64, hashlib, json, re, secrets, sys
ROLES = ("look", "annotate", "train", "approve", "administrate")
name, role = sys.argv[1:]
secret = json.load(sys.stdin)
accounts = json.loads(base64.b64decode(secret["data"]["accounts.json"]))
if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}", name):
    sys.exit(f"{name!r} is no name; it may have up to 100 letters, digits and . _ @ + -")
known = ", ".join(ROLES)
if role not in (*ROLES, "none"):
    sys.exit(f"{role!r} is no role; there are {known}, and none to take the account away.")
if accounts.get(name, {}).get("role", "look") not in ROLES:
    sys.exit(f"{name} is the account of a program; take another name.")
accounts.pop(name, None)
if role != "none":
    password = secrets.token_urlsafe(18)
    accounts[name] = {"role": role, "sha256": hashlib.sha256(password.encode()).hexdigest()}
    print(f"{name}, password {password}", file=sys.stderr)
secret["data"] = {"accounts.json": base64.b64encode(json.dumps(accounts, indent=1).encode()).decode()}
json.dump(secret, sys.stdout)
' "$@")
# Refused when somebody else changed it meanwhile: the version that was read comes with it.
printf '%s' "$changed" | kubectl replace --namespace nucleus --filename -
