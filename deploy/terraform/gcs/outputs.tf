output "backend" {
  description = "For --backend, or LEASEHOLD_BACKEND."
  value       = var.prefix == "" ? "gs://${google_storage_bucket.locks.name}" : "gs://${google_storage_bucket.locks.name}/${var.prefix}"
}

output "service_account" {
  description = "Who may take the locks; for google-github-actions/auth, or --impersonate-service-account."
  value       = google_service_account.locks.email
}

output "workload_identity_provider" {
  description = "For google-github-actions/auth; null without github_repository."
  value       = one(google_iam_workload_identity_pool_provider.github[*].name)
}
