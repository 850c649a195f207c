#!/bin/sh
# Makes the namespace and its search attributes; harmless when repeated.
# Needs TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE; the temporal command reads the address itself.
set -eu

temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1 ||
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention 30d

# The server takes some seconds to know a namespace that was just made.
tries=0
until known=$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE"); do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || exit 1
  sleep 1
done

for attribute in AccountId=Keyword BillingStatus=Keyword NextDueAt=Datetime Plan=Keyword; do
  name=${attribute%=*}
  type=${attribute#*=}
  if ! printf '%s\n' "$known" | grep -Eq "^ *$name +"; then
    temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" \
      --name "$name" --type "$type"
  elif ! printf '%s\n' "$known" | grep -Eq "^ *$name +$type *$"; then
    echo "search attribute $name exists with another type than $type" >&2
    exit 1
  fi
done
