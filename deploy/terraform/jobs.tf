# The image's registry, where containers run and log, and the jobs: a check by hand, the nightly run, and a weekly vacuum.

resource "azurerm_container_registry" "this" {
  name                = "cr${local.plain}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags

  sku           = "Basic"
  admin_enabled = false
}

resource "azurerm_log_analytics_workspace" "this" {
  name                = "log-${local.name}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags

  sku               = "PerGB2018"
  retention_in_days = 30
}

resource "azurerm_container_app_environment" "this" {
  name                = "cae-${local.name}"
  resource_group_name = azurerm_resource_group.this.name
  location            = azurerm_resource_group.this.location
  tags                = local.tags

  logs_destination           = "log-analytics"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.this.id

  infrastructure_subnet_id = one(azurerm_subnet.jobs[*].id)

  workload_profile {
    name                  = "Consumption"
    workload_profile_type = "Consumption"
  }

  # Azure fills it in when there is a subnet of ours, and would make all anew if it were taken away.
  lifecycle {
    ignore_changes = [infrastructure_resource_group_name]
  }
}

locals {
  all_jobs = {
    check  = { args = ["check"], schedule = null }
    run    = { args = ["run"], schedule = var.schedule }
    vacuum = { args = ["vacuum"], schedule = var.vacuum_schedule }
  }

  # There is nothing to run before there is an image.
  jobs = { for name, job in local.all_jobs : name => job if var.image != null }

  job_environment = merge(
    var.settings,
    # Whose token the storage account is shown: with several identities the platform must be told which.
    { AZURE_CLIENT_ID = azurerm_user_assigned_identity.limno.client_id },
    var.overlay == null ? {} : { LIMNO_ENV = var.overlay },
  )
}

resource "azurerm_container_app_job" "limno" {
  for_each = local.jobs

  name                         = "caj-${local.name}-${each.key}"
  resource_group_name          = azurerm_resource_group.this.name
  location                     = azurerm_resource_group.this.location
  container_app_environment_id = azurerm_container_app_environment.this.id
  workload_profile_name        = "Consumption"
  tags                         = local.tags

  replica_timeout_in_seconds = var.timeout_seconds
  replica_retry_limit        = each.value.schedule == null ? 0 : 1

  dynamic "schedule_trigger_config" {
    for_each = each.value.schedule == null ? [] : [each.value.schedule]

    content {
      cron_expression          = schedule_trigger_config.value
      parallelism              = 1
      replica_completion_count = 1
    }
  }

  dynamic "manual_trigger_config" {
    for_each = each.value.schedule == null ? [1] : []

    content {
      parallelism              = 1
      replica_completion_count = 1
    }
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.limno.id]
  }

  registry {
    server   = azurerm_container_registry.this.login_server
    identity = azurerm_user_assigned_identity.limno.id
  }

  dynamic "secret" {
    for_each = local.job_secrets

    content {
      name                = secret.value.name
      identity            = azurerm_user_assigned_identity.limno.id
      key_vault_secret_id = secret.value.id
    }
  }

  template {
    container {
      name   = "limno"
      image  = var.image
      args   = each.value.args
      cpu    = var.cpu
      memory = "${var.cpu * 2}Gi"

      dynamic "env" {
        for_each = local.job_environment

        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.job_secrets

        content {
          name        = env.key
          secret_name = env.value.name
        }
      }
    }
  }

  # A job is refused while it may not read its secrets or pull its image.
  depends_on = [
    azurerm_role_assignment.pulls_image,
    azurerm_role_assignment.reads_secrets,
    azurerm_private_endpoint.this,
  ]
}
