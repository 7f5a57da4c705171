# Stand-in for python:3.11-slim where no image registry can be reached.
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/* /usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 /usr/bin/python
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
CMD ["python3"]
