# Image of the test workers: each container takes one message and exits.
FROM python:3.11-slim
ARG REQUIREMENTS
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore $REQUIREMENTS
COPY *.py /worker/
ENV PYTHONUNBUFFERED=1
CMD ["python", "/worker/rabbitmq_worker.py"]
