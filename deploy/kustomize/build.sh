#!/bin/sh
# Prints what `kubectl kustomize FOLDER` makes, or fails where robmon is in nothing, or is not in what asks for it by the
# label robmon/inject: kustomize itself says nothing of a component that patches nothing.
#   deploy/kustomize/build.sh FOLDER | kubectl apply -f -
# KUBECTL names another kubectl.
set -eu
folder=${1:?usage: build.sh FOLDER}
built=$("${KUBECTL:-kubectl}" kustomize "$folder")
printf '%s\n' "$built" | awk -v folder="$folder" '
  function judge() {
    if (with) injected++
    else if (asks) { print "build.sh: " kind "/" name " has the label robmon/inject, and robmon is not in it: add the component for its kind to " folder > "/dev/stderr"; wrong = 1 }
    asks = with = 0; kind = name = ""; section = ""
  }
  /^---$/ { judge(); next }
  /^[a-z]/ { section = $1 }
  /^kind: / { kind = $2 }
  section == "metadata:" && /^  name: / { name = $2 }
  section == "metadata:" && /^    robmon\/inject: "true"$/ { asks = 1 }
  /^ +(- )?name: robmon$/ { with = 1 }
  END {
    judge()
    if (wrong) exit 1
    if (!injected) { print "build.sh: robmon is in nothing of " folder ": give what it should watch the label robmon/inject: \"true\"" > "/dev/stderr"; exit 1 }
  }'
printf '%s\n' "$built"
